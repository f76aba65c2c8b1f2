import { createStorage, type Storage } from "../../supabase/functions/_shared/media/storage.ts";

/** Storage that nobody reaches, and one that answers with a failure of its own. */
export function storageThatFails(): Storage[] {
  const unreachable = () => Promise.reject(new TypeError("refused by the test"));
  const failing = () => Promise.resolve(new Response("refused by the test", { status: 502 }));
  return [unreachable, failing].map((fetch) =>
    createStorage({ publicUrl: "http://darkroom.test", serviceKey: "sb_secret_test", fetch }),
  );
}
