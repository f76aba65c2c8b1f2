import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { DatabaseError } from "../../supabase/functions/_shared/database/connection-error.ts";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import type { Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { Identifier } from "../../supabase/functions/_shared/auth/identify.ts";
import { isRoleFault } from "../../supabase/functions/_shared/database/role-fault.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";

/** Whom the database's policies see. */
export interface Caller {
  role: "anon" | "authenticated" | "service_role";
  claims: Record<string, unknown>;
  /** Milliseconds; keys do not expire. */
  expiresAt: number | undefined;
}

export type Extension = "broadcast" | "presence";

export interface Access {
  /** @throws AppError `unauthenticated` */
  identify(credentials: { apiKey?: string; token?: string }): Promise<Caller>;
  /** What the caller may listen to on a private topic: what the select policies of `realtime.messages` let it see. */
  readable(caller: Caller, topic: string): Promise<ReadonlySet<Extension>>;
  /** Whether the insert policies of `realtime.messages` let the caller send to a private topic. */
  mayWrite(caller: Caller, topic: string, extension: Extension): Promise<boolean>;
}

const rolledBack = new Error("rolled back");

export function createAccess(sql: Pool, identifier: Identifier, log: Logger): Access {
  /** Asks as the caller, in a transaction that leaves nothing behind. */
  async function asking<Answer>(
    caller: Caller,
    topic: string,
    ask: (sql: Sql, become: () => Promise<unknown>) => Promise<Answer>,
  ): Promise<Answer | undefined> {
    let answer: Answer | undefined;
    try {
      await sql.transaction(async (transaction) => {
        answer = await ask(
          transaction,
          () => transaction`
            select set_config('realtime.topic', ${topic}, true),
                   set_config('request.jwt.claims', ${JSON.stringify(caller.claims)}, true),
                   set_config('role', ${caller.role}, true)`,
        );
        throw rolledBack;
      });
    } catch (error) {
      if (error === rolledBack) return answer;
      if (!isRefusal(error) || isRoleFault(error)) throw error;
      // A policy that fails on a topic lets nobody in; only the plain refusal is no news.
      if (error.code !== "42501") log.warn({ err: error, topic }, "a policy of realtime.messages failed");
    }
    return undefined;
  }

  return {
    async identify({ apiKey, token }) {
      const headers = new Headers();
      if (apiKey !== undefined) headers.set("apikey", headerValue(apiKey));
      if (token !== undefined) headers.set("authorization", `Bearer ${headerValue(token)}`);
      const identity = await identifier.identify(headers);
      switch (identity.kind) {
        case "service":
          return { role: "service_role", claims: { role: "service_role" }, expiresAt: undefined };
        case "public-key":
          return { role: "anon", claims: { role: "anon" }, expiresAt: undefined };
        case "user": {
          const { claims } = identity;
          return { role: claims.role, claims, expiresAt: (claims.exp ?? 0) * 1000 };
        }
        default:
          throw new AppError("unauthenticated");
      }
    },

    async readable(caller, topic) {
      const probes = new Map<string, Extension>([
        [randomUUID(), "broadcast"],
        [randomUUID(), "presence"],
      ]);
      const visible = await asking(caller, topic, async (transaction, become) => {
        await transaction`
          insert into realtime.messages (id, topic, extension, event, private)
          select id, ${topic}, extension, 'probe', true
            from unnest(${[...probes.keys()]}::uuid[], ${[...probes.values()]}::text[]) as probe (id, extension)`;
        await become();
        return await transaction<{ id: string }[]>`
          select id::text from realtime.messages where id = any(${[...probes.keys()]}::uuid[])`;
      });
      const extensions = (visible ?? []).map(({ id }) => probes.get(id));
      return new Set(extensions.filter((extension) => extension !== undefined));
    },

    async mayWrite(caller, topic, extension) {
      const inserted = await asking(caller, topic, async (transaction, become) => {
        await become();
        await transaction`
          insert into realtime.messages (id, topic, extension, event, private)
          values (${randomUUID()}, ${topic}, ${extension}, 'probe', true)`;
        return true;
      });
      return inserted ?? false;
    },
  };
}

/** Whether the statement was refused, and not the database out of reach. */
function isRefusal(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && !/^(08|40|53|55|57|58|XX)/.test(error.code ?? "XX");
}

function headerValue(text: string): string {
  // Neither a key nor a token has such characters, and headers cannot carry them.
  if (!/^[\x21-\x7e]{1,8192}$/.test(text)) throw new AppError("unauthenticated");
  return text;
}
