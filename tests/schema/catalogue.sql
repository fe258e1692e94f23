-- Everything in a database that a migration can make, a line each: what two states of a schema are compared by.
-- An owner's own grants are left out: none given and all given are the same. Comments are left out: to take a classification away again would help nobody. Grants are sorted, because the order they were given in means nothing; object ids are left out for the same reason.
WITH ours AS (
  SELECT oid, nspname FROM pg_namespace
  WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'public')
)
SELECT 'schema ' || nspname || ' ' || acl FROM (
  SELECT n.nspname, n.nspowner::regrole || ' ' || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(n.nspacl) a), '') AS acl
  FROM pg_namespace n JOIN ours USING (oid)
) s
UNION ALL
SELECT 'relation ' || nspname || '.' || relname || ' ' || relkind::text || ' ' || relowner::regrole || ' rls ' || relrowsecurity::text
    || relforcerowsecurity::text || ' ' || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM aclexplode(relacl) a WHERE a.grantee <> relowner), '')
    || ' ' || coalesce(reloptions::text, '')
  FROM pg_class JOIN ours ON ours.oid = relnamespace
UNION ALL
SELECT 'column ' || nspname || '.' || relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull::text
    || ' ' || attidentity::text || attgenerated::text || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
    || ' ' || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(attacl) a), '')
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN ours ON ours.oid = relnamespace
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint ' || nspname || '.' || conname || ' ' || conrelid::regclass || ' ' || pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN ours ON ours.oid = connamespace
UNION ALL
SELECT 'index ' || schemaname || '.' || indexdef FROM pg_indexes JOIN ours ON nspname = schemaname
UNION ALL
SELECT 'policy ' || schemaname || '.' || p::text FROM pg_policies p JOIN ours ON nspname = schemaname
UNION ALL
SELECT 'trigger ' || pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
  JOIN ours ON ours.oid = relnamespace WHERE NOT tgisinternal
UNION ALL
SELECT 'function ' || pg_get_functiondef(f.oid) || ' ' || proowner::regrole || ' '
    || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(proacl) a), '')
  FROM pg_proc f JOIN ours ON ours.oid = pronamespace WHERE prokind IN ('f', 'p')
UNION ALL
SELECT 'type ' || nspname || '.' || typname || ' ' || coalesce((SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder)
    FROM pg_enum WHERE enumtypid = y.oid), '')
  FROM pg_type y JOIN ours ON ours.oid = typnamespace WHERE typtype IN ('e', 'd')
UNION ALL
SELECT 'view ' || schemaname || '.' || viewname || ' ' || definition FROM pg_views JOIN ours ON nspname = schemaname
UNION ALL
SELECT 'default ' || defaclrole::regrole || ' ' || coalesce(nspname, '') || ' ' || defaclobjtype::text || ' ' || defaclacl::text
  FROM pg_default_acl LEFT JOIN ours ON ours.oid = defaclnamespace
ORDER BY 1
