/*
Package pgxdcb appends to a store in PostgreSQL in the transactions of a program that uses pgx.

	pool, err := pgxpool.New(ctx, uri)
	...
	opened, err := dcb.NewPostgresStore(uri)
	...
	store := pgxdcb.New(opened, pool)
	err = store.InTx(ctx, func(tx pgx.Tx) error {
		if err := store.AppendTx(ctx, tx, events); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE seats SET taken = taken + 1")
		return err
	})

Everything else is as in package dcb: [Store] is a [dcb.PostgresStore]. A program that uses database/sql, with the
driver of pgx too, does not need this package: see [dcb.TxDB]. A projector of a program that uses pgx gets its
*sql.DB from the pool, by OpenDBFromPool of github.com/jackc/pgx/v5/stdlib.
*/
package pgxdcb
