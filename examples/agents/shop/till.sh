#!/bin/bash
# till.sh < receipt.txt: what all of it costs.
cd "$(dirname "$0")" && . ./price.sh && . ./total.sh && . ./money.sh
echo "Total $(money "$(total)")"
