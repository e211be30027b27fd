# The short names of what is done most. CMakePresets.json and CMakeLists.txt do the work.

.PHONY: demo test
.SILENT:

demo:
	./bootstrap
	cmake --preset release
	cmake --build --preset release --target demo
	examples/demo/run build/release/examples

test:
	./bootstrap test
	cmake --preset debug
	cmake --build --preset debug
	ctest --preset debug
