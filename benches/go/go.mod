module errgroupbench

go 1.22

// The script `run` puts the module's source there; which version it is, the program prints.
require golang.org/x/sync v0.0.0

replace golang.org/x/sync => ./.tools/sync
