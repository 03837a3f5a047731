# fish completion of PROGRAM: the program itself is asked what fits.
function __PROGRAM_fitting
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    $words[1] __complete (count $words) -- $words "$current" 2>/dev/null
end
complete --command PROGRAM --arguments '(__PROGRAM_fitting)'
