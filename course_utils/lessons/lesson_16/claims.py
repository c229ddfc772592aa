"""The claims of lesson 16 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="script_differs",
        text="The script's losses leave those of one process by at least 0.0005",
        at_least=0.0005,
        unit="nats",
        excludes={"divided by the target tokens of both": None},
    ),
    Claim(
        name="mean_of_means",
        text="The mean of the shares' own gradients differs from the batch's gradient by more than 1%",
        at_least=0.01,
        unit="%",
    ),
    Claim(
        name="equal_losses",
        text="Divided by the tokens of both, two processes have the losses of one, within 0.00001",
        at_most=1e-05,
        unit="nats",
        headline=True,
        excludes={"each divides by its own tokens": None},
        models="any",
    ),
    Claim(
        name="lora_at_stage_2",
        text="At stage 2, LoRA's cards keep at least 90% of what they hold at stage 0",
        at_least=0.9,
        unit="%",
        excludes={"full fine-tuning": None},
        models="any",
    ),
    Claim(
        name="sharded_losses",
        text="Sharded over two processes, training has the losses of one, within 0.00001",
        at_most=1e-05,
        unit="nats",
        excludes={"a loss that is not multiplied by the number of processes": None},
        models="any",
    ),
    Claim(
        name="half_the_bytes",
        text="Sharded, each process holds half of the weights and moments",
        equals=0.5,
        tolerance=0.01,
        unit="times",
        models="any",
    ),
    Claim(
        name="bytes_sent",
        text="Sharded, a process sends 1.3 to 2 times the bytes of two copies",
        at_most=2.0,
        at_least=1.3,
        unit="times",
        models="any",
    ),
]

MORE_CLAIMS = [
    Claim(
        name="no_process_left",
        text="After an interrupt no process is left",
        equals=0,
        unit="processes",
        models="any",
    ),
    Claim(
        name="accelerate_on_cpu",
        text="Accelerate, asked for FSDP on a CPU, gives plain data parallel",
        equals="DistributedDataParallel",
        models="any",
    ),
    Claim(
        name="first_card",
        text="torch leaves the first of eight cards an eighth of the weights",
        equals=1 / 8,
        tolerance=0.0001,
        unit="times",
        models="any",
    ),
    Claim(
        name="ethernet",
        text="With 4096 tokens a card, full fine-tuning over Ethernet spends at most 5% of a step on "
        "computing",
        at_most=0.05,
        unit="%",
        models="any",
    ),
    Claim(
        name="adapter_on_the_same_card",
        text="With the recipe's adapter, the same card spends 60 to 80% of a step on computing",
        at_most=0.8,
        at_least=0.6,
        unit="%",
        excludes={"full fine-tuning over InfiniBand": None},
        models="any",
    ),
]
