"""How `accelerate launch` would read a configuration file, without launching anything."""

import os
from contextlib import contextmanager
from pathlib import Path


def launch_environment(path) -> dict[str, str]:
    """The environment variables that `accelerate launch --config_file PATH` would give to the processes.

    ValueError for a key that accelerate does not know; it silently ignores such keys under fsdp_config.
    """
    import yaml
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    parser = launch_command_parser()
    args = parser.parse_args(["--config_file", str(path), "script.py"])
    known = set(vars(args))
    unknown = set(yaml.safe_load(Path(path).read_text(encoding="utf-8")).get("fsdp_config") or {}) - known
    if unknown:
        raise ValueError(f"{path}: accelerate knows no {', '.join(sorted(unknown))} under fsdp_config")
    before = dict(os.environ)
    args, _, _ = _validate_launch_command(args)
    made = prepare_multi_gpu_env(args)
    return {name: value for name, value in made.items() if before.get(name) != value}


def sharding_plugin(path):
    """The FSDP plugin of a process launched with this file."""
    from accelerate import FullyShardedDataParallelPlugin

    with _environment(launch_environment(path)):
        return FullyShardedDataParallelPlugin()


@contextmanager
def _environment(values):
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
