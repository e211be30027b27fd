module github.com/libdcb/libdcb/bindings/go

go 1.24
