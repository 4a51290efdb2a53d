# shellcheck shell=bash
# Finds missing commands and files, and installs their Debian packages in one call, as root or through sudo.
#
#     need curl curl ca-certificates            # a command, and the packages that bring it
#     need_file /usr/include/zlib.h zlib1g-dev  # the same for a file
#     install_needed                    # installs what is missing, or says what to run

missing_commands=()
missing_packages=()

need() {
    command -v "$1" >/dev/null 2>&1 || miss "$@"
}

need_file() {
    [ -e "$1" ] || miss "$@"
}

miss() {
    missing_commands+=("$1")
    shift
    missing_packages+=("$@")
}

# protoc, which the build of the etcd client runs. Debian keeps the files that every other one imports in a package of
# their own; an installation elsewhere has them beside its `bin`.
need_protoc() {
    local protoc
    need protoc protobuf-compiler libprotobuf-dev
    protoc=$(command -v protoc) || return 0
    [ -e "$(dirname "$(dirname "$(readlink -f "$protoc")")")/include/google/protobuf/descriptor.proto" ] ||
        need_file /usr/include/google/protobuf/descriptor.proto libprotobuf-dev
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
