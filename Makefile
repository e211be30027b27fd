# The short names of what is done most. CMakePresets.json and CMakeLists.txt do the work.

.PHONY: bench coverage demo demo-postgres deny docs fuzz install mutants soak test test-long tsan
.SILENT:

# What to run and for how long: make bench BENCH=--quick; BENCH=--help tells the rest. BENCH=--postgres
# runs the one on a PostgreSQL server, and BENCH='--postgres --help' tells what it can be told.
bench:
	./bootstrap $(if $(findstring --postgres,$(BENCH)),postgres)
	cargo run --release -p dcb-bench$(if $(findstring --postgres,$(BENCH)),-postgres) -- $(filter-out --postgres,$(BENCH))

# Which lines of the core the tests run.
coverage:
	./bootstrap coverage
	tests/coverage/run

demo:
	./bootstrap
	cmake --preset release
	cmake --build --preset release --target demo
	examples/demo/run build/release/examples

# Licences, sources and duplicates of what is built; known weaknesses by make deny DENY=advisories,
# which fetches the list of them.
deny: DENY ?= licenses bans sources
deny:
	./bootstrap deny
	PATH="$$PATH:target/tools/bin" cargo-deny --workspace check $(DENY)

# The same on a PostgreSQL server that is made for it and removed afterwards, or on the one that
# DCB_POSTGRES_URI names, whose schema dcb is dropped.
demo-postgres:
	./bootstrap postgres
	cmake --preset release
	cmake --build --preset release --target demo
	tests/postgres/cluster.sh run sh -c 'DEMO_POSTGRES_URI=$$DCB_POSTGRES_URI exec examples/demo/run build/release/examples'

docs:
	./bootstrap docs
	PATH="$$PATH:target/tools/bin" mdbook build docs
	doxygen docs/Doxyfile
	echo "open build/docs/index.html"

# Looks for inputs that break something, for ten minutes or FUZZ_SECONDS in all.
fuzz: FUZZ_SECONDS ?= 600
fuzz:
	./bootstrap fuzz
	fuzz/run $(FUZZ_SECONDS)

# Load, for an hour or SOAK_MINUTES: what creeps up fails it.
soak: SOAK_MINUTES ?= 60
soak:
	./bootstrap
	SOAK_MINUTES=$(SOAK_MINUTES) cargo test --release --test soak nothing_creeps -- --nocapture

# What the tests do not notice of small changes to the code (.cargo/mutants.toml).
mutants:
	./bootstrap mutants
	PATH="$$PATH:target/tools/bin" cargo mutants $(MUTANTS)

# make install PREFIX=/usr DESTDIR=...
install: PREFIX ?= /usr/local
install:
	./bootstrap
	cmake --preset release
	cmake --build --preset release --target dcb_library dcb_cli
	cmake --install build/release --prefix $(PREFIX)

# Ends with what took longest.
test:
	./bootstrap test
	cmake --preset debug
	cmake --build --preset debug
	ctest --preset debug; status=$$?; tests/slowest.sh build/debug/Testing/Temporary/LastTest.log; exit $$status

# The same tests with full counts, as long as they take: hours. The Rust tests run what the compiler
# has optimised a little, with the same checks; in the end stands how much of each there was.
test-long: long = DCB_TEST_LONG=1 PROPTEST_CASES=4096 CARGO_PROFILE_DEV_OPT_LEVEL=1
test-long:
	./bootstrap test
	tests/postgres/fetch.sh
	cmake --preset debug -D DCB_TEST_TIMEOUT=86400
	cmake --build --preset debug
	$(long) ctest --preset debug; status=$$?; tests/counts.sh build/debug/Testing/Temporary/LastTest.log; exit $$status

# The threads of the core, on a standard library and a SQLite that are instrumented too.
tsan:
	./bootstrap tsan
	tests/tsan/run
