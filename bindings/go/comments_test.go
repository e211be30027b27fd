package dcb

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A comment of what the package exports begins with its name and ends as a sentence does, so that it stands
// alone wherever it is shown.
func TestExportedNamesAreDocumented(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"dcbtest/*.go", "oteldcb/*.go", "pgxdcb/*.go", "projector/*.go"} {
		others, err := filepath.Glob(pattern)
		if err != nil || len(others) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(others), err)
		}
		paths = append(paths, others...)
	}
	files := token.NewFileSet()
	seen := 0
	check := func(name *ast.Ident, isGrouped bool, comments ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		seen++
		place := files.Position(name.Pos())
		i := slices.IndexFunc(comments, func(c *ast.CommentGroup) bool { return c != nil })
		if i < 0 {
			if !isGrouped {
				t.Errorf("%s: %s has no comment", place, name)
			}
			return
		}
		text := strings.TrimSpace(comments[i].Text())
		if !strings.HasPrefix(text, name.Name+" ") && !isGrouped {
			t.Errorf("%s: the comment does not begin with %s", place, name)
		}
		if last := text[len(text)-1]; last != '.' && !strings.Contains(text, "\n\t") {
			t.Errorf("%s: the comment of %s is no sentence", place, name)
		}
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
					check(d.Name, false, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						check(s.Name, false, s.Doc, d.Doc)
						members(s.Type, s.Name.IsExported(), func(name *ast.Ident, isFirst bool, doc *ast.CommentGroup) {
							check(name, !isFirst || doc == nil, doc)
						})
					case *ast.ValueSpec:
						for i, name := range s.Names {
							isGroup := d.Lparen.IsValid()
							check(name, isGroup && s.Doc == nil || i > 0, s.Doc, d.Doc)
						}
					}
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d names were found", seen)
	}
}

// receiver returns the name of a method's type.
func receiver(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// members calls visit with each field of an exported struct and each method of an exported interface.
func members(of ast.Expr, isExported bool, visit func(name *ast.Ident, isFirst bool, doc *ast.CommentGroup)) {
	var fields *ast.FieldList
	switch e := of.(type) {
	case *ast.StructType:
		fields = e.Fields
	case *ast.InterfaceType:
		fields = e.Methods
	}
	if fields == nil || !isExported {
		return
	}
	for _, field := range fields.List {
		for i, name := range field.Names {
			visit(name, i == 0, field.Doc)
		}
	}
}
