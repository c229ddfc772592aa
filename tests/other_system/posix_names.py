"""Names that only Unix has: of modules, and in modules that other systems also have."""

POSIX = {  # marked "Availability: Unix" in Python's documentation, if a course could use it
    "os": "chown chroot ctermid fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg"
    " getpgid getpgrp getpriority getresuid getsid getuid kill killpg lchown mkfifo mknod nice openpty pipe2"
    " posix_spawn posix_spawnp pread pwrite register_at_fork sched_getaffinity sched_setaffinity sendfile"
    " setegid seteuid setgid setpgid setpgrp setpriority setsid setuid statvfs sync sysconf tcgetpgrp"
    " tcsetpgrp uname wait wait3 wait4 waitid WEXITSTATUS WIFSIGNALED",
    "signal": "SIGKILL SIGHUP SIGALRM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGQUIT SIGPIPE"
    " SIGWINCH alarm pause setitimer getitimer sigwait sigtimedwait pthread_kill pthread_sigmask"
    " siginterrupt",
    "time": "tzset clock_gettime clock_settime pthread_getcpuclockid",
    "socket": "AF_UNIX",
    "asyncio": "open_unix_connection start_unix_server",
}
POSIX = {module: set(names.split()) for module, names in POSIX.items()}
MODULES = set("crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty".split())
