//! What a shell has to load, to ask the program what could stand at the cursor.

use clap::ValueEnum;

/// A shell that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

impl Shell {
    /// The script for a program. An answer of `:files` means the names of files.
    pub fn script(self, program: &str) -> String {
        let text = match self {
            Shell::Bash => BASH,
            Shell::Zsh => ZSH,
            Shell::Fish => FISH,
        };
        text.replace("FUNCTION", &program.replace('-', "_")).replace("PROGRAM", program)
    }
}

const BASH: &str = r#"# Completion of PROGRAM for bash. Load it with:  source <(PROGRAM completions bash)
_FUNCTION() {
  local line current=${COMP_WORDS[COMP_CWORD]}
  [ "$current" = = ] && current=
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
      return
    fi
    COMPREPLY+=("${line%%$'\t'*}")
  done < <(PROGRAM complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _FUNCTION PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
# Completion of PROGRAM for zsh. Load it with:  source <(PROGRAM completions zsh)
# or put it as _PROGRAM into a folder of $fpath.
_FUNCTION() {
  local line
  local -a values
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    if [[ $line == *$'\t'* ]]; then
      values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    else
      values+=("${line//:/\\:}")
    fi
  done < <(PROGRAM complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( $#values )) && _describe -V 'PROGRAM' values
}
if [ "${funcstack[1]}" = _FUNCTION ] || [ "${funcstack[1]}" = _PROGRAM ]; then
  _FUNCTION "$@"
else
  compdef _FUNCTION PROGRAM
fi
"#;

const FISH: &str = r#"# Completion of PROGRAM for fish. Load it with:  PROGRAM completions fish | source
function __FUNCTION_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (PROGRAM complete -- $words[2..-1] "$current" 2>/dev/null)
    if test "$lines[1]" = :files
        __fish_complete_path "$current"
    else if test -n "$lines[1]"
        printf '%s\n' $lines
    end
end
complete -c PROGRAM -f -a '(__FUNCTION_complete)'
"#;
