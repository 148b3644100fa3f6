# To be sourced in the root: where compilers remember, the same source is the same in every build folder of the same depth, and in every clone.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
# Who builds once wants rooms as one source; who goes on with it, what changed.
unity_batch=8
if [ "${CI:-}" = true ]; then unity_batch=0; fi
