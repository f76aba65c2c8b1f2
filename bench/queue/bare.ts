import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";

/** The least that a queue in PostgreSQL can be: one table, one index, one statement. No users, no policy. */
export class BareQueue {
  readonly #sql: Pool;

  constructor(url: string, connections: number) {
    this.#sql = openPool({ url, name: "darkroom", connections });
  }

  async seed(depth: number): Promise<void> {
    await this.#sql.query(`
      drop schema if exists bare cascade;
      create schema bare;
      create table bare.queue (
        id bigint generated always as identity primary key,
        status text not null default 'Queued',
        params jsonb not null,
        created_at timestamptz not null default clock_timestamp()
      );
      create index queued_by_age on bare.queue (created_at) where status = 'Queued';`);
    await this.#sql`
      insert into bare.queue (params, created_at)
      select jsonb_build_object('prompt', repeat('a red fox in deep snow at dawn, ', 12), 'seed', number),
             now() - interval '1 hour' + number * interval '59 minutes' / ${depth}
        from generate_series(0, ${depth - 1}::bigint) as number`;
    await this.#sql`vacuum analyze bare.queue`;
  }

  async claim(): Promise<string | undefined> {
    const [row] = await this.#sql<{ id: string }[]>`
      update bare.queue set status = 'In Progress'
       where id = (select id from bare.queue where status = 'Queued'
                    order by created_at limit 1 for update skip locked)
      returning id, params`;
    return row?.id;
  }

  async complete(id: string): Promise<void> {
    await this.#sql`update bare.queue set status = 'Complete' where id = ${id}`;
  }

  async create(): Promise<void> {
    await this.#sql`insert into bare.queue (params) values ('{"prompt": "a red fox in deep snow at dawn"}')`;
  }

  async close(): Promise<void> {
    await this.#sql.end();
  }
}
