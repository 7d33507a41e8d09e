# shellcheck shell=sh
# What the scripts share.  Everything here speaks on standard error: standard output is the program's.

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH
targets= # of build(); nothing: all

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# packages_of SECTION...: their names, one a line
packages_of() {
    for section; do
        awk -v want="[$section]" '
            /^#/ || /^[ \t]*$/ { next }
            /^\[/ { on = $1 == want; next }
            on { print $1 }' "$root/scripts/packages.txt"
    done
}

packages_missing() {
    packages_of "$@" | while read -r package; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

# install_packages SECTION...: installs what is missing of them, and nothing when nothing is
install_packages() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
        die "this is no Debian system: install these yourself, then use meson: $(packages_of "$@" | tr '\n' ' ')"
    missing=$(packages_missing "$@")
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            die "these packages are missing, and without sudo only root can install them: apt-get install $missing"
        as_root=sudo
    fi
    say "installing $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    if $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 update >"$log" 2>&1 </dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 --no-install-recommends install $missing \
            >>"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $missing"
    fi
}

# as_owner COMMAND...: under sudo, what is built belongs to the user who called it
as_owner() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        runuser -u "$SUDO_USER" -- "$@"
    else
        "$@"
    fi
}

# build DIRECTORY [MESON-OPTION...]: sets up or updates a build directory and builds $targets, or all, in it; quiet when
# all is well
build() {
    build_dir=$root/$1
    shift
    as_owner mkdir -p "$build_dir" || die "cannot write to $root"
    log=$(as_owner mktemp)
    # shellcheck disable=SC2086
    if [ -f "$build_dir/build.ninja" ]; then
        [ $# -eq 0 ] || as_owner meson configure "$build_dir" "$@" >"$log" 2>&1
    else
        as_owner meson setup "$build_dir" "$root" "$@" >"$log" 2>&1
    fi && as_owner ninja -C "$build_dir" $targets >>"$log" 2>&1
    status=$?
    [ $status -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return $status
}
