package projector

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Dialect is the kind of SQL that a database speaks.
type Dialect int

const (
	// SQLite writes the parameters of a statement as ?, which every SQLite driver takes.
	SQLite Dialect = iota
	// Postgres writes the parameters of a statement as $1, $2 and so on.
	Postgres
)

const (
	checkpoints = `CREATE TABLE IF NOT EXISTS {checkpoints} (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	position BIGINT NOT NULL,
	fingerprint TEXT NOT NULL,
	fence BIGINT NOT NULL,
	holder TEXT NOT NULL,
	beat BIGINT NOT NULL,
	retired BIGINT NOT NULL,
	PRIMARY KEY (name, version)
)`
	active = `CREATE TABLE IF NOT EXISTS {active} (
	name TEXT NOT NULL PRIMARY KEY,
	version BIGINT NOT NULL
)`
	parked = `CREATE TABLE IF NOT EXISTS {parked} (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	position BIGINT NOT NULL,
	fingerprint TEXT NOT NULL,
	type TEXT NOT NULL,
	error TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	parked_at_us BIGINT NOT NULL,
	PRIMARY KEY (name, version, position)
)`
)

// tables runs statements on the tables in which the projectors of a database keep their state.
type tables struct {
	db      *sql.DB
	dialect Dialect
	prefix  string
	name    string
	version int
	// lease is how long a transaction that moves the checkpoint may be idle, or 0.
	lease time.Duration
}

var validPrefix = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*$`)

// tables returns the tables of the projector, if their names are valid.
func (p *Projector) tables() (*tables, error) {
	prefix := p.Prefix
	if prefix == "" {
		prefix = "projector_"
	}
	local := strings.ToLower(prefix[strings.IndexByte(prefix, '.')+1:])
	switch {
	case p.Name == "":
		return nil, invalid("Name must not be empty")
	case p.DB == nil:
		return nil, invalid("DB must not be nil")
	case p.Dialect != SQLite && p.Dialect != Postgres:
		return nil, invalid("Dialect must be SQLite or Postgres")
	case !validPrefix.MatchString(prefix):
		return nil, invalid("Prefix must be the beginning of a name in SQL: letters, digits and underscores")
	case strings.HasPrefix(local, "dcb_"), strings.HasPrefix(local, "sqlite_"), strings.HasPrefix(local, "pg_"):
		return nil, invalid("Prefix must not begin with dcb_, sqlite_ or pg_")
	}
	return &tables{db: p.DB, dialect: p.Dialect, prefix: prefix, name: p.Name, version: p.Version}, nil
}

// Schema returns the statements that create the tables of projectors, for a program that has migrations of
// its own. The dialects need the same ones. An empty prefix means the default one.
func Schema(prefix string) string {
	if prefix == "" {
		prefix = "projector_"
	}
	return (&tables{prefix: prefix}).schema()
}

func (t *tables) schema() string {
	return t.text(checkpoints) + ";\n" + t.text(active) + ";\n" + t.text(parked) + ";\n"
}

// CreateTables creates the tables in which projectors keep their state, if they do not exist. All projectors
// with the same prefix share them. [Schema] returns the statements.
func (p *Projector) CreateTables(ctx context.Context) error {
	t, err := p.tables()
	if err != nil {
		return err
	}
	for _, statement := range []string{checkpoints, active, parked} {
		_, err := t.db.ExecContext(ctx, t.text(statement))
		for again := 0; again < 3 && isThereAlready(err); again++ {
			_, err = t.db.ExecContext(ctx, t.text(statement))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isThereAlready reports whether PostgreSQL says that another transaction has just created the same: IF NOT EXISTS
// does not wait for it.
func isThereAlready(err error) bool {
	var coded interface{ SQLState() string }
	if !errors.As(err, &coded) {
		return false
	}
	switch coded.SQLState() {
	case "23505", "42P07", "42710": // a unique index of the catalogue, a table, an object
		return true
	}
	return false
}

// text puts the names of the tables and the parameters of the dialect into a statement.
func (t *tables) text(statement string) string {
	statement = strings.NewReplacer(
		"{checkpoints}", t.prefix+"checkpoints",
		"{active}", t.prefix+"active",
		"{parked}", t.prefix+"parked",
	).Replace(statement)
	if t.dialect != Postgres {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, c := range statement {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// exec runs the statement and returns the number of rows that it has changed.
func (t *tables) exec(ctx context.Context, q querier, statement string, args ...any) (int64, error) {
	result, err := q.ExecContext(ctx, t.text(statement), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// inTx calls do with a transaction, and commits it if do returns nil.
func (t *tables) inTx(ctx context.Context, do func(tx *sql.Tx) error) error {
	options := &sql.TxOptions{}
	if t.dialect == Postgres {
		options.Isolation = sql.LevelReadCommitted // whatever that of the sessions is
	}
	tx, err := t.db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// checkpoint is a row of the table of checkpoints.
type checkpoint struct {
	position    int64
	fingerprint string
	fence       int64
	holder      string
	beat        int64
	retired     bool
}

// checkpoint returns the row of the projector, or [sql.ErrNoRows].
func (t *tables) checkpoint(ctx context.Context, q querier) (c checkpoint, err error) {
	var retired int64
	err = q.QueryRowContext(ctx, t.text(`SELECT position, fingerprint, fence, holder, beat, retired
		FROM {checkpoints} WHERE name = ? AND version = ?`), t.name, t.version).
		Scan(&c.position, &c.fingerprint, &c.fence, &c.holder, &c.beat, &retired)
	c.retired = retired != 0
	return c, err
}

// create inserts the row of the projector. The first version of a name is the active one.
func (t *tables) create(ctx context.Context) error {
	return t.inTx(ctx, func(tx *sql.Tx) error {
		_, err := t.exec(ctx, tx, `INSERT INTO {checkpoints}
			(name, version, position, fingerprint, fence, holder, beat, retired)
			VALUES (?, ?, 0, '', 0, '', 0, 0) ON CONFLICT DO NOTHING`, t.name, t.version)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, tx, `INSERT INTO {active} (name, version) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			t.name, t.version)
		return err
	})
}

// take makes holder the holder of the lease, unless the row has changed since seen was read.
func (t *tables) take(ctx context.Context, seen checkpoint, holder string) (bool, error) {
	n, err := t.exec(ctx, t.db, `UPDATE {checkpoints} SET fence = fence + 1, holder = ?, beat = beat + 1
		WHERE name = ? AND version = ? AND fence = ? AND beat = ? AND retired = 0`,
		holder, t.name, t.version, seen.fence, seen.beat)
	return n == 1, err
}

// release ends the lease, so that the next process need not wait.
func (t *tables) release(ctx context.Context, fence int64) error {
	_, err := t.exec(ctx, t.db, `UPDATE {checkpoints} SET holder = '', beat = beat + 1
		WHERE name = ? AND version = ? AND fence = ?`, t.name, t.version, fence)
	return err
}

// move moves the checkpoint from one position to another, which may be the same. It fails if the lease with
// this fencing number is over. It is the first statement of its transaction, and locks the row, or in
// SQLite the database, until the end: so nobody takes the lease over meanwhile. If the process is suspended in the
// transaction, or cut off, PostgreSQL would keep the lock. It is told to end the transaction after a lease.
func (t *tables) move(ctx context.Context, q querier, fence, from, to int64, fingerprint string) error {
	statement := `UPDATE {checkpoints} SET position = ?, fingerprint = ?, beat = beat + 1
		WHERE name = ? AND version = ? AND fence = ? AND position = ?`
	args := []any{to, fingerprint, t.name, t.version, fence, from}
	if t.dialect == Postgres && t.lease > 0 {
		statement += ` AND set_config('idle_in_transaction_session_timeout', ?, true) <> ''`
		args = append(args, strconv.FormatInt(max(1, t.lease.Milliseconds()), 10))
	}
	n, err := t.exec(ctx, q, statement, args...)
	if err == nil && n != 1 {
		err = errLeaseLost
	}
	return err
}
