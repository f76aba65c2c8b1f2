import { Client } from "pg";
import { driverUrl } from "../../supabase/functions/_shared/database/driver.ts";
import type { Ask } from "../schema/catalog.ts";

/** What one connection does for a backup or a restore; it holds one long transaction. */
export interface DatabaseConnection {
  client: Client;
  ask: Ask;
  close(): Promise<void>;
}

/** Text forms that every server reads the same way, and no limit of time on a statement. */
const settings = [
  "set statement_timeout = 0",
  "set lock_timeout = 0",
  "set idle_in_transaction_session_timeout = 0",
  "set idle_session_timeout = 0",
  "set datestyle = 'ISO, YMD'",
  "set intervalstyle = 'postgres'",
  "set extra_float_digits = 3",
  "set bytea_output = 'hex'",
  "set timezone = 'UTC'",
  "set client_encoding = 'UTF8'",
  // Rows that a policy hides must be an error: they would be missing without a word.
  "set row_security = off",
];

export async function openConnection(url: string, name: string): Promise<DatabaseConnection> {
  const client = new Client({
    connectionString: driverUrl(url).href,
    application_name: name,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  let lost: Error | undefined;
  client.on("error", (error) => (lost = error));
  await client.connect();
  for (const setting of settings) await client.query(setting);
  return {
    client,
    async ask<Row extends object>(text: string) {
      if (lost) throw lost;
      const result: unknown = await client.query(text);
      // Several statements in one text give several results: the last one counts.
      const last = (Array.isArray(result) ? result.at(-1) : result) as { rows: Row[] };
      return last.rows;
    },
    close: () => client.end(),
  };
}

/** Tables with rows of their own: those of PostgreSQL and of extensions are made by these. */
export const tablesQuery = `
  select nspname as schema, relname as name, format('%I.%I', nspname, relname) as quoted,
         coalesce((select json_agg(attname order by attnum) from pg_catalog.pg_attribute
                    where attrelid = class.oid and attnum > 0 and not attisdropped and attgenerated = ''), '[]') as columns
    from pg_catalog.pg_class as class join pg_catalog.pg_namespace as space on space.oid = relnamespace
   where relkind = 'r' and relpersistence <> 't' and nspname <> 'information_schema' and nspname not like 'pg\\_%'
     and not exists (select from pg_catalog.pg_depend
                      where classid = 'pg_catalog.pg_class'::regclass and objid = class.oid and deptype = 'e')
   order by nspname, relname`;

export interface TableRow {
  schema: string;
  name: string;
  quoted: string;
  columns: string[];
}
