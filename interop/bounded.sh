# Sourced by the scripts that install something: what waits for a registry that does not answer ends, and says what it was.

bounded() { # command...
  local seconds=600 ended=0
  timeout --kill-after=10 $seconds "$@" || ended=$?
  [ $ended != 124 ] && [ $ended != 137 ] || printf 'NOT DONE in %s s: %s\n' $seconds "$*" >&2
  return $ended
}
