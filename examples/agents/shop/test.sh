#!/bin/bash
# test.sh [PART]...: tries all parts, or those that are named.
cd "$(dirname "$0")" && . ./price.sh && . ./total.sh && . ./money.sh
parts=${*:-price total money till}
failed=0

is() { # EXPECTED COMMAND...
  local expected=$1 found
  shift
  found=$("$@" 2>&1)
  [ "$found" = "$expected" ] && return
  echo "$part: $*: expected '$expected', found '$found'"
  failed=1
}

of_lines() { # COMMAND, of two lines
  printf 'Bread 2.45\nMilk 1.29\n' | "$1"
}

for part in $parts; do
  case $part in
    price) is 245 cents 2.45; is 209 cents 2.09; is 680 cents 6.8; is 700 cents 7 ;;
    total) is 374 of_lines total ;;
    money) is 10.54 money 1054; is 10.05 money 1005 ;;
    till) is 'Total 19.69' bash till.sh < receipt.txt ;;
  esac
done
[ "$failed" = 0 ] && echo "all is well: $parts"
exit "$failed"
