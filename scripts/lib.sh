# shellcheck shell=bash
# What the scripts share. Sourced, never run.

# People who are not root often lack the sbin folders, where dockerd and iptables live.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
tools_dir="${HERSH_TOOLS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/hersh-tools}"
export PATH="$PATH:$tools_dir/bin"

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, through sudo where that is needed, with PATH and HOME kept.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -E env PATH="$PATH" HOME="$HOME" "$@"
    else
        die "this step needs root: run it as root, or install sudo"
    fi
}

# Prints the path of a busybox that needs no libraries.
static_busybox() {
    local path
    for path in /bin/busybox /usr/bin/busybox; do
        if [ -x "$path" ] && ! ldd "$path" 2>/dev/null | grep -q '=>'; then
            echo "$path"
            return
        fi
    done
    echo "no static busybox: run scripts/setup run" >&2
    return 1
}
