# cents PRICE: "2.45" is 245.
cents() {
  local whole=${1%.*} part=${1#*.}
  echo $((whole * 100 + part))
}
