#!/bin/sh
# Stands between the agent and one task, so that the task outlives the agent and its exit status is never lost. It holds no
# policy: it starts the program in a session of its own, says who it is, waits, and writes down how it ended.
#
#   shim.sh EXIT-FILE HOSTS-FILE RESOLV-FILE       in the task's directory; the files are '' or are bound over /etc/hosts and /etc/resolv.conf
#
# The program is a direct, foreground child: a shell starts background children with SIGINT ignored. `pid` and EXIT-FILE exist at their full
# size and are written in place, so that a full disk loses neither. Descriptor 3 leads to the agent that starts the task; the
# program never has it. Everything stands in one pair of braces: a shell reads a script while it runs, and an upgrade may replace it.
{
  trap : HUP INT TERM
  umask 022
  bound=yes
  if [ -n "$2" ]; then mount --bind "$2" /etc/hosts || bound=no; fi
  if [ -n "$3" ]; then
    mount --bind "$3" /etc/resolv.conf || bound=no
    # Libraries ask these before resolv.conf, and they would answer for the host. One that is not there is passed over.
    for socket in /run/systemd/resolve/io.systemd.Resolve /run/nscd/socket; do
      if [ -S "$socket" ]; then mount --bind /dev/null "$socket"; fi
    done
  fi
  read -r boot </proc/sys/kernel/random/boot_id
  read -r line </proc/self/stat
  shim=${line%% *}
  (
    read -r line </proc/self/stat
    pid=${line%% *}
    # What follows the program's name, which may hold anything: field 22 of proc(5), start time in ticks after boot, is the 20th.
    set -- ${line##*) }
    printf '%s %s %s %s\n' "$pid" "${20}" "$shim" "$boot" 1<>pid || exit 125
    printf '%s %s %s %s %s\n' "$pid" "${20}" "$shim" "$boot" "$bound" >&3
    exec 3>&-
    . ./run
  ) </dev/null >>stdout 2>>stderr
  code=$?
  # What the program left behind in its group ends with it, as in a container.
  read -r pid line <pid
  kill -9 "-$pid"
  printf '%s\n' "$code" 1<>"$1"
  exit 0
}
