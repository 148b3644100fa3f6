# total: the sum in cents of lines "NAME PRICE" on standard input.
total() {
  local name price sum=0
  while read -r name price; do
    sum=$(cents "$price")
  done
  echo "$sum"
}
