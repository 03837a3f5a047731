# bash completion of PROGRAM: the program itself is asked what fits.
_PROGRAM() {
    local line=${COMP_LINE:0:COMP_POINT} candidate prefix=
    local -a words found
    read -ra words <<<"$line"
    # After a space a new word begins.
    case $line in *[[:space:]]) words+=("") ;; esac
    local current=${words[${#words[@]} - 1]}
    mapfile -t found < <(
        "${words[0]}" __complete "$((${#words[@]} - 1))" -- "${words[@]}" 2>/dev/null | cut -f1
    )
    # Names of images have colons, at which readline takes words apart.
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        prefix=${current%:*}:
    elif [[ $current == *=* && $COMP_WORDBREAKS == *=* ]]; then
        prefix=${current%%=*}=
    fi
    COMPREPLY=()
    for candidate in "${found[@]}"; do
        COMPREPLY+=("${candidate#"$prefix"}")
    done
    # A folder is seldom all that is meant.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o default -F _PROGRAM PROGRAM
