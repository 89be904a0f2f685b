// This program runs workloads of this crate's benchmarks with Go's errgroup, so that people who
// know Go can compare. The script `run` beside it fetches what is missing, builds it and runs it:
//
//	benches/go/run               fetches Go and the module into benches/go/.tools first
//	benches/go/run --no-install  fetches nothing, and fails if something is missing
//
// It prints lines with a name, a tab and a number, among them:
//
//	limit64/yield1/2cpu  nanoseconds for each child, with a limit of 64 and GOMAXPROCS=2
//	none20000/ready/1cpu nanoseconds for each child, with 20,000 of them and no limit
//	small3/ready/1cpu    nanoseconds for a group of 3 children, made and awaited
//	firsterror/1cpu      nanoseconds until Wait returns the error of child 10 of 100,000,
//	                     without a limit; limit64/firsterror/1cpu has one
//	parked/bytes         bytes of memory for each goroutine that waits
//
// Times are the minimum of several rounds. All of Go's settings but GOMAXPROCS are its defaults,
// so the collector runs when it likes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	children    = 100_000
	failing     = 10
	waiting     = 1_000_000
	leastRounds = 7
	leastTime   = 300 * time.Millisecond
)

// moduleVersion is set by the linker, as a module that is replaced has no version of its own.
var moduleVersion = "unknown"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "parked" {
		printParked()
		return
	}
	fmt.Printf("# go version %s %s/%s, golang.org/x/sync %s\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, moduleVersion)
	for _, work := range works() {
		for _, cpus := range work.cpus {
			fmt.Printf("%s/%dcpu\t%.1f\n", work.name, cpus, work.measure(cpus))
		}
	}
	if err := startParked(); err != nil {
		fmt.Fprintln(os.Stderr, "without parked/bytes:", err)
	}
}

type work struct {
	name string
	// The values of GOMAXPROCS to run it with.
	cpus []int
	// A round's time is divided by this.
	units int
	run   func()
}

// measure returns the nanoseconds for each unit, in the fastest round.
func (w work) measure(cpus int) float64 {
	runtime.GOMAXPROCS(cpus)
	// No round pays for what the previous workload left, nor for warming up.
	runtime.GC()
	w.run()
	var total, fastest time.Duration
	for round := 0; round < leastRounds || total < leastTime; round++ {
		start := time.Now()
		w.run()
		elapsed := time.Since(start)
		total += elapsed
		if round == 0 || elapsed < fastest {
			fastest = elapsed
		}
	}
	return float64(fastest.Nanoseconds()) / float64(w.units)
}

func works() []work {
	works := limitWorks(nil, []limit{
		{"limit1", 1, children},
		{"limit64", 64, children},
		{"limit1000", 1_000, children},
	})
	for _, size := range []int{1, 3, 8} {
		child := yields(0)
		groups := children / size
		works = append(works, work{
			name:  fmt.Sprintf("small%d/ready", size),
			cpus:  []int{1},
			units: groups, // nanoseconds for each group, not each child
			run: func() {
				for range groups {
					crowd(-1, size, child)
				}
			},
		})
	}
	for _, limit := range []limit{{"firsterror", -1, children}, {"limit64/firsterror", 64, children}} {
		works = append(works, work{
			name:  limit.name,
			cpus:  []int{1},
			units: 1,
			run:   func() { firstError(limit.most, limit.count) },
		})
	}
	// These come last: the runtime keeps the memory of so many goroutines, and its collector has
	// more to look through from then on.
	return limitWorks(works, []limit{
		{"none20000", -1, 20_000},
		{"none200000", -1, 200_000},
	})
}

type limit struct {
	name        string
	most, count int
}

// limitWorks appends the workloads of many children, under each of the limits.
func limitWorks(works []work, limits []limit) []work {
	kinds := []struct {
		name  string
		times int
	}{
		{"ready", 0},
		{"yield1", 1},
		{"yield4", 4},
	}
	for _, limit := range limits {
		for _, kind := range kinds {
			child := yields(kind.times)
			works = append(works, work{
				name:  limit.name + "/" + kind.name,
				cpus:  []int{1, 2},
				units: limit.count,
				run:   func() { crowd(limit.most, limit.count, child) },
			})
		}
	}
	return works
}

// yields returns a child that yields this many times. One function serves all children of a
// workload, so only the group allocates.
func yields(times int) func() error {
	return func() error {
		for range times {
			runtime.Gosched()
		}
		return nil
	}
}

// crowd runs count children in a group; a negative limit is none, as in SetLimit.
func crowd(limit, count int, child func() error) {
	var group errgroup.Group
	group.SetLimit(limit)
	for range count {
		group.Go(child)
	}
	if err := group.Wait(); err != nil {
		panic(err)
	}
}

var errChild = errors.New("a child has failed")

// firstError runs children of which one fails; once the loop sees that, it starts no more.
//
// On one CPU and without a limit the loop never waits, so it starts thousands of children before
// the runtime preempts it and one of them can run.
func firstError(limit, count int) {
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(limit)
	others := yields(1)
	for index := range count {
		if ctx.Err() != nil {
			break
		}
		if index == failing {
			group.Go(func() error { return errChild })
		} else {
			group.Go(others)
		}
	}
	if err := group.Wait(); err != errChild {
		panic("the error has not come out")
	}
}

// startParked runs printParked in a process of its own, so that no memory of the other workloads
// is reused.
func startParked() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(program, "parked")
	command.Stdout = os.Stdout
	command.Stderr = os.Stderr
	return command.Run()
}

// printParked prints by how many bytes the process grows for each goroutine, while all goroutines
// of a group are blocked on one channel.
//
// It counts resident memory, as the benchmark in Rust does. HeapSys and StackSys of
// runtime.MemStats would leave out what the runtime keeps outside the heap, and would count pages
// that were reserved and never touched.
func printParked() {
	runtime.GC()
	before, err := resident()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var group errgroup.Group
	var arrived atomic.Int64
	never := make(chan struct{})
	child := func() error {
		arrived.Add(1)
		<-never
		return nil
	}
	for range waiting {
		group.Go(child)
	}
	for arrived.Load() < waiting {
		time.Sleep(time.Millisecond)
	}
	after, err := resident()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("parked/bytes\t%.1f\n", float64(after-before)/waiting)
}

// resident returns how many bytes of this process are in memory; only Linux tells.
func resident() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			kibibytes, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
			return kibibytes * 1024, err
		}
	}
	return 0, errors.New("the system does not tell how much memory is resident")
}
