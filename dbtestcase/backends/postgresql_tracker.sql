-- What a test changes under truncation, template and schema isolation, and how to undo it.
CREATE SCHEMA dbtestcase;

-- Append-only, so that concurrent transactions never wait for each other here. 0 means DDL.
CREATE UNLOGGED TABLE dbtestcase.dirtied (relation oid);
CREATE TABLE dbtestcase.tables
    (relation oid PRIMARY KEY, name text, alone text, columns text, copy text, filled boolean);
CREATE TABLE dbtestcase.sequences (relation oid PRIMARY KEY, of oid, value bigint, called boolean);
-- What else has to be put back with a table.
CREATE TABLE dbtestcase.followers (relation oid, of oid);
-- What would do more, or less, than put rows back.
CREATE TABLE dbtestcase.obstacles (relation oid, remove text, put_back text);
-- Only superusers may have an event trigger notice DDL; for others the catalog is compared.
CREATE TABLE dbtestcase.catalog (digest text);
-- Which there are; what is in one, only superusers could compare.
CREATE TABLE dbtestcase.large_objects (digest text);

CREATE FUNCTION dbtestcase.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO dbtestcase.dirtied VALUES (coalesce(pg_partition_root(TG_RELID), TG_RELID));
    RETURN NULL;
END $$;

CREATE FUNCTION dbtestcase.note_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                    HAVING bool_and(schema_name = 'pg_temp')) THEN
        INSERT INTO dbtestcase.dirtied VALUES (0);
    END IF;
END $$;

CREATE FUNCTION dbtestcase.digest_of_large_objects() RETURNS text LANGUAGE sql AS
    $$ SELECT format('%s %s', count(*), sum(oid::bigint)) FROM pg_largeobject_metadata $$;

-- Rows of catalogs are replaced, never changed: their number and the sum of the transactions that
-- made them tell. In pg_class TRUNCATE replaces them too, so that is compared by what matters.
CREATE FUNCTION dbtestcase.digest() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    schemas oid[] := array(SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_');
    temporary oid[] := array(SELECT oid FROM pg_class WHERE relpersistence = 't');
    digest text;
    matview text;
BEGIN
    SELECT string_agg(format('%s %s', rows, sum), ', ') INTO digest FROM (
        SELECT count(*) AS rows,
               sum(hashtext(ROW(relname, relnamespace, relowner, relpersistence, relchecks,
                                relrowsecurity, relforcerowsecurity, relreplident, relacl,
                                reloptions)::text))
          FROM pg_class WHERE oid >= 16384 AND relpersistence <> 't'
        UNION ALL
        SELECT count(*), sum(xmin::text::bigint) FROM pg_attribute
         WHERE attrelid >= 16384 AND attnum > 0 AND attrelid <> ALL (temporary)
        UNION ALL
        SELECT count(*), sum(xmin::text::bigint) FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%'
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_attrdef
                   WHERE adrelid <> ALL (temporary)
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_constraint
                   WHERE oid >= 16384 AND connamespace <> ALL (schemas)
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_trigger
                   WHERE oid >= 16384 AND tgrelid <> ALL (temporary)
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_rewrite WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_policy
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_proc WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_type
                   WHERE oid >= 16384 AND typnamespace <> ALL (schemas)
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_enum
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_range WHERE rngtypid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_operator WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_cast WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_collation WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_ts_config WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_ts_dict WHERE oid >= 16384
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_statistic_ext
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_sequence
                   WHERE seqrelid <> ALL (temporary)
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_inherits
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_extension
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_default_acl
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_foreign_server
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_publication
        UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_description
                   WHERE objoid >= 16384) AS all_of_them;
    FOR matview IN SELECT format('%I.%I', nspname, relname)
                  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                 WHERE relkind = 'm' AND relispopulated ORDER BY c.oid
    LOOP
        EXECUTE format('SELECT format(''%%s, %%s %%s'', $1, count(*), sum(xmin::text::bigint)) FROM %s', matview)
           INTO digest USING digest;
    END LOOP;
    RETURN digest;
END $$;

-- Let a schema of that name have what public has, but for extensions, and what the user does not own.
CREATE FUNCTION dbtestcase.move_to(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
    object record;
BEGIN
    EXECUTE format('CREATE SCHEMA %I', name);
    FOR one IN
        SELECT classid, objid FROM pg_depend d
         WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace('public')
           AND deptype = 'n' AND classid <> 'pg_extension'::regclass
           -- Members of extensions stay with these, and the sequences of columns go with tables.
           AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid
                              AND (o.deptype = 'e' OR o.refclassid = 'pg_class'::regclass
                                   AND o.objid IN (SELECT seqrelid FROM pg_sequence)))
           AND NOT (classid = 'pg_type'::regclass
                    AND objid IN (SELECT oid FROM pg_type WHERE NOT typisdefined))
    LOOP
        SELECT type, identity INTO object FROM pg_identify_object(one.classid, one.objid, 0);
        BEGIN
            EXECUTE format('ALTER %s %s SET SCHEMA %I',
                           CASE one.classid WHEN 'pg_proc'::regclass THEN 'ROUTINE'
                                ELSE replace(object.type, ' object', '') END,
                           object.identity, name);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END $$;

-- Returns whether all tables can be tracked. Superusers need not own them.
CREATE FUNCTION dbtestcase.track() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    superuser boolean := current_setting('is_superuser');
    -- What fires while rows are put back, which superusers do in the role of a replica.
    firing "char"[] := CASE WHEN superuser THEN '{A,R}' ELSE '{A,O}' END;
    one record;
BEGIN
    IF NOT superuser AND EXISTS (SELECT FROM pg_trigger WHERE tgisinternal AND tgfoid >= 16384) THEN
        RETURN false;  -- before version 15, only superusers may disable the triggers of partitions
    END IF;
    INSERT INTO dbtestcase.obstacles
        SELECT coalesce(pg_partition_root(c.oid), c.oid),
               format('ALTER TABLE ONLY %I.%I %s', nspname, relname, remove),
               format('ALTER TABLE ONLY %I.%I %s', nspname, relname, put_back)
          FROM (SELECT tgrelid, format('DISABLE TRIGGER %I', tgname),
                       format('ENABLE %s TRIGGER %I', CASE tgenabled WHEN 'A' THEN 'ALWAYS'
                                                             WHEN 'R' THEN 'REPLICA' END, tgname)
                  FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = ANY (firing)
                UNION ALL
                SELECT ev_class, format('DISABLE RULE %I', rulename),
                       format('ENABLE %s RULE %I', CASE ev_enabled WHEN 'A' THEN 'ALWAYS'
                                                          WHEN 'R' THEN 'REPLICA' END, rulename)
                  FROM pg_rewrite WHERE ev_type <> '1' AND ev_enabled = ANY (firing)
                UNION ALL
                SELECT oid, 'NO FORCE ROW LEVEL SECURITY', 'FORCE ROW LEVEL SECURITY'
                  FROM pg_class
                 WHERE relforcerowsecurity AND NOT superuser) AS obstacle (relation, remove, put_back)
               JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema', 'dbtestcase');
    FOR one IN SELECT remove FROM dbtestcase.obstacles LOOP
        EXECUTE one.remove;
    END LOOP;
    FOR one IN
        SELECT c.oid, format('%I.%I', nspname, relname) AS name, c.relispartition,
               CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS only, columns
          FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace,
               LATERAL (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
                          FROM pg_attribute
                         WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                           AND attgenerated = '') a
         WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema', 'dbtestcase')
           AND nspname NOT LIKE 'pg\_%'
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
         ORDER BY c.oid
    LOOP
        IF NOT one.relispartition AND one.columns IS NOT NULL THEN
            EXECUTE format('CREATE TABLE dbtestcase."%s" AS SELECT %s FROM %s%s',
                           one.oid, one.columns, one.only, one.name);
            EXECUTE format('INSERT INTO dbtestcase.tables'
                           ' VALUES ($1, $2, $3, $4, $5, EXISTS (SELECT FROM dbtestcase."%s"))', one.oid)
              USING one.oid, one.name, one.only || one.name, one.columns, format('dbtestcase."%s"', one.oid);
        END IF;
        EXECUTE format('CREATE TRIGGER dbtestcase AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE'
                       ' ON %s FOR EACH STATEMENT EXECUTE FUNCTION dbtestcase.note()', one.name);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER dbtestcase', one.name);
    END LOOP;
    -- A foreign key lets nobody but a superuser take away what a row refers to.
    INSERT INTO dbtestcase.followers
        SELECT inhrelid, inhparent FROM pg_inherits
        UNION
        SELECT relation, coalesce(pg_partition_root(confrelid), confrelid)
          FROM pg_constraint JOIN dbtestcase.tables
               ON relation = coalesce(pg_partition_root(conrelid), conrelid)
         WHERE contype = 'f' AND filled AND NOT superuser;
    FOR one IN
        SELECT c.oid, format('%I.%I', nspname, relname) AS name
          FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace
    LOOP
        EXECUTE format(
            'INSERT INTO dbtestcase.sequences'
            ' SELECT %L, (SELECT coalesce(pg_partition_root(refobjid), refobjid) FROM pg_depend'
            '              WHERE objid = %L AND classid = ''pg_class''::regclass'
            '                AND refclassid = ''pg_class''::regclass AND deptype IN (''a'', ''i'')),'
            '        last_value, is_called FROM %s', one.oid, one.oid, one.name);
    END LOOP;
    FOR one IN SELECT put_back FROM dbtestcase.obstacles LOOP
        EXECUTE one.put_back;
    END LOOP;
    INSERT INTO dbtestcase.large_objects SELECT dbtestcase.digest_of_large_objects();
    IF superuser THEN
        CREATE EVENT TRIGGER dbtestcase ON ddl_command_end EXECUTE FUNCTION dbtestcase.note_ddl();
        ALTER EVENT TRIGGER dbtestcase ENABLE ALWAYS;
    ELSE
        INSERT INTO dbtestcase.catalog SELECT dbtestcase.digest();
    END IF;
    EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN false;
END $$;

-- One statement for all tables, at the end of which foreign keys are checked, whatever their order is.
CREATE FUNCTION dbtestcase.put_back(changed oid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    deletes text;
    inserts text;
BEGIN
    SELECT string_agg(format('d%s AS (DELETE FROM %s)', relation, alone), ', '),
           string_agg(format('i%s AS (INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s)',
                             relation, name, columns, columns, copy), ', ') FILTER (WHERE filled)
      INTO deletes, inserts
      FROM dbtestcase.tables WHERE relation = ANY (changed);
    IF deletes IS NOT NULL THEN
        EXECUTE format('WITH %s SELECT', deletes);
    END IF;
    IF inserts IS NOT NULL THEN
        EXECUTE format('WITH %s SELECT', inserts);
    END IF;
    SET CONSTRAINTS ALL IMMEDIATE;
END $$;

-- Returns false, having done nothing, if the schema has changed. It waits for those who hold a lock on
-- what they may have written no longer than a moment. Sequences of tables that are as they
-- were have been used in vain, if at all. Compiling its queries would take longer than all of it.
CREATE FUNCTION dbtestcase.restore(all_sequences boolean) RETURNS boolean LANGUAGE plpgsql
SET jit = off SET lock_timeout = '1s' AS $$
DECLARE
    altered boolean := false;
    changed oid[];
    one record;
BEGIN
    IF EXISTS (SELECT FROM dbtestcase.dirtied WHERE relation = 0)
       OR EXISTS (SELECT FROM dbtestcase.catalog WHERE digest <> dbtestcase.digest())
       OR EXISTS (SELECT FROM dbtestcase.large_objects
                   WHERE digest <> dbtestcase.digest_of_large_objects()) THEN
        RETURN false;
    END IF;
    WITH RECURSIVE family AS (
        SELECT relation FROM dbtestcase.dirtied
        UNION SELECT f.relation FROM dbtestcase.followers f JOIN family ON of = family.relation
    )
    SELECT array_agg(relation) INTO changed FROM family;
    FOR one IN SELECT remove FROM dbtestcase.obstacles WHERE relation = ANY (changed) LOOP
        EXECUTE one.remove;
        altered := true;
    END LOOP;
    PERFORM dbtestcase.put_back(changed);
    FOR one IN SELECT relation, value, called FROM dbtestcase.sequences
                WHERE (all_sequences OR of IS NULL OR of = ANY (changed))
                  AND pg_sequence_last_value(relation) IS DISTINCT FROM CASE WHEN called THEN value END
    LOOP
        PERFORM setval(one.relation, one.value, one.called);
    END LOOP;
    FOR one IN SELECT put_back FROM dbtestcase.obstacles WHERE relation = ANY (changed) LOOP
        EXECUTE one.put_back;
    END LOOP;
    DELETE FROM dbtestcase.dirtied;
    IF altered THEN
        UPDATE dbtestcase.catalog SET digest = dbtestcase.digest();
    END IF;
    RETURN true;
EXCEPTION WHEN integrity_constraint_violation THEN
    RETURN false;  -- of rows that were there before the constraint
END $$;
