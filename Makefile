# The short names of what is done most. CMakePresets.json and CMakeLists.txt do the work.

.PHONY: bench demo docs install test
.SILENT:

# What to run and for how long: make bench BENCH=--quick; BENCH=--help tells the rest.
bench:
	./bootstrap
	cargo run --release -p dcb-bench -- $(BENCH)

demo:
	./bootstrap
	cmake --preset release
	cmake --build --preset release --target demo
	examples/demo/run build/release/examples

docs:
	./bootstrap docs
	PATH="$$PATH:target/tools/bin" mdbook build docs
	doxygen docs/Doxyfile
	echo "open build/docs/index.html"

# make install PREFIX=/usr DESTDIR=...
install: PREFIX ?= /usr/local
install:
	./bootstrap
	cmake --preset release
	cmake --build --preset release --target dcb_library
	cmake --install build/release --prefix $(PREFIX)

test:
	./bootstrap test
	cmake --preset debug
	cmake --build --preset debug
	ctest --preset debug
