module errgroupbench

go 1.22

// The script `run` puts the module's source there; the program prints its version.
require golang.org/x/sync v0.0.0

replace golang.org/x/sync => ./.tools/sync
