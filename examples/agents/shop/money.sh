# money CENTS: 245 is "2.45".
money() {
  echo "$(($1 / 100)).$(($1 % 100))"
}
