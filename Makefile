# The short names of what is done most. CMakePresets.json and CMakeLists.txt do the work.

.PHONY: test
.SILENT:

test:
	./bootstrap test
	cmake --preset debug
	cmake --build --preset debug
	ctest --preset debug
