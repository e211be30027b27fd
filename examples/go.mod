module github.com/libdcb/libdcb/examples

go 1.24

require github.com/libdcb/libdcb/bindings/go v0.1.0

replace github.com/libdcb/libdcb/bindings/go v0.1.0 => ../bindings/go
