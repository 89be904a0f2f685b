# Shortcuts, for https://just.systems; CONTRIBUTING.md says what each does and how long it takes.

# List the recipes.
default:
    @just --list

# The tests of the crate; `just test nested::` runs one module.
test *filter:
    cargo test {{ if filter == "" { "--tests" } else { "--test it " + filter } }}

# The snippets of the documentation; `just doc-test scope` runs those of some items.
doc-test *filter:
    cargo test --doc {{ filter }}

# The wake-ups, in all interleavings.
loom:
    bash .ci/loom

# Threads that make all calls of a group at once, in random orders; `just shuttle 20000` for more.
shuttle schedules="300":
    SHUTTLE_SCHEDULES={{ schedules }} cargo test -p shuttle-model

# Deliberate bugs, each of which the models of `just loom` must find; `just broken abort` for some.
broken *names:
    python3 .ci/broken {{ names }}

# Mutation testing of a sample of src/; `just mutants --file queue` for the mutants of some files.
mutants *args:
    python3 .ci/mutants {{ args }}

# Random schedules against a model of the promises; `just model 20000` for more of them.
model cases="100":
    PROPTEST_CASES={{ cases }} cargo test --profile checked -p model

# Random worlds of groups; `just fuzz 600` for ten minutes of them.
fuzz seconds="60":
    cargo run --profile checked -p fuzz -- --seconds {{ seconds }}

# Random worlds in which every standstill must be justified; `just oracle 600` for ten minutes.
oracle seconds="60":
    cargo run --profile checked -p oracle -- --seconds {{ seconds }}

# Worlds that libFuzzer finds by coverage; needs a nightly compiler and cargo-fuzz.
libfuzzer seconds="600":
    bash .ci/libfuzzer {{ seconds }}

# The worlds under AddressSanitizer, which also finds leaks; `just asan --it` for the tests. Needs a
# nightly compiler.
asan *args:
    bash .ci/asan {{ args }}

# Worlds and some of the tests under valgrind, which finds leaks and bad reads; `just memcheck drop::`
# for other tests.
memcheck *filter:
    bash .ci/memcheck {{ filter }}

# The tests that start threads under ThreadSanitizer; needs a nightly compiler with rust-src.
tsan *filter:
    bash .ci/tsan {{ filter }}

# All tests: of the crate, the models, every executor and the larger examples.
all:
    cargo test --workspace

# Rough figures beside the peers; `just bench-quick limit64` for some of the workloads.
bench-quick only="":
    cargo bench --bench peers -- --quick --only '{{ only }}'

# What a child costs, in instructions; needs valgrind.
instructions:
    benches/instructions/run

# The crate's documentation, in a browser.
docs:
    cargo doc --no-deps --all-features --open

# Measure everything, and write the tables and pictures of docs/; `just figures --quick` is rough.
figures *args:
    cargo bench -- --docs {{ args }}
    benches/size/run --docs
    cargo run --release -p timeline docs/timeline.svg

# The words that the texts do without.
words:
    bash .ci/words

# Imports against the picture in ARCHITECTURE.md.
layers:
    python3 .ci/layers --print

# What a group adds to a program, in KB; `just size --symbols` lists the largest functions.
size *args:
    bash .ci/size {{ args }}

# The gate; `just gate --long` also runs what needs more packages or takes long to build.
gate *args:
    bash .ci/run {{ args }}

# One step of it: msrv, features, minimal, no-std, executors, docsrs.
step name:
    bash .ci/{{ name }}

# What users see of a change: the public interface, written anew.
public-api:
    cargo doc --no-deps --all-features
    python3 .ci/public-api --write
