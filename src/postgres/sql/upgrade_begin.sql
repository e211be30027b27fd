-- Brings the functions of the store in the schema "dcb" to the newest revision. The owner of the store
-- runs this in one transaction, while programs use the store: psql -v ON_ERROR_STOP=1 -1 -f -

SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Appends and other upgrades wait from here on.
SELECT FROM "dcb".meta WHERE one = 1 FOR UPDATE;

DO $$
DECLARE
    v_format integer := (SELECT format FROM "dcb".meta WHERE one = 1);
BEGIN
    IF v_format IS DISTINCT FROM 1 THEN
        RAISE EXCEPTION 'the store in schema dcb has the format %, and this text is for 1', v_format;
    END IF;
    IF EXISTS (SELECT FROM pg_proc
               WHERE pronamespace = 'dcb'::regnamespace AND proname = 'revision'
                     AND substring(prosrc FROM '^SELECT ([0-9]{1,6})$')::integer > 2) THEN
        RAISE EXCEPTION 'the store in schema dcb has functions of a newer revision than 2'
            USING ERRCODE = 'DCB04';
    END IF;
END
$$;

