# shellcheck shell=bash
# Finds missing commands and installs their Debian packages in one call, as root or through sudo.
#
#     need protoc protobuf-compiler     # a command, and the packages that bring it
#     install_needed                    # installs what is missing, or says what to run

missing_commands=()
missing_packages=()

need() {
    local command=$1
    shift
    command -v "$command" >/dev/null 2>&1 && return
    missing_commands+=("$command")
    missing_packages+=("$@")
}

# Rust is the one thing that is not installed here: its users choose how. rustup's folder is often not in PATH yet.
need_rust() {
    [ -d "$HOME/.cargo/bin" ] && PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null 2>&1 && return
    echo "cargo is missing: install Rust from https://rustup.rs and run this again" >&2
    exit 1
}

install_needed() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    local as_root=()
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "missing: ${missing_commands[*]}. This system has no apt-get: install them and run this again" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "missing: ${missing_commands[*]}. Run as root: apt-get install -y ${missing_packages[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    echo "installing: ${missing_packages[*]}" >&2
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing_packages[@]}")
    # A fresh image has no package lists, and an old one names versions that are gone: one update mends both.
    if ! "${install[@]}" >/dev/null 2>&1; then
        "${as_root[@]}" apt-get -qq update
        if ! "${install[@]}" >/dev/null; then
            echo "this failed: ${install[*]}" >&2
            exit 1
        fi
    fi
    missing_commands=()
    missing_packages=()
}
