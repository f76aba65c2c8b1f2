import type { Mutant } from "./mutant.ts";

const tests = "acceptance/delivery";

/** Delivery: nobody reads a run's files before the commit that charges for them. */
export const mutants: Mutant[] = [
  {
    check: 61,
    breaks: "the public URL asks nobody whether the file is delivered",
    file: "server/storage/catalogue.ts",
    line: `
         where bucket_id = \${bucket} and name = \${name} and public.is_readable_file(bucket_id, name)`,
    broken: `
         where bucket_id = \${bucket} and name = \${name}`,
    tests,
    named: "check 61: a status that completes",
  },
  {
    check: 61,
    breaks: "an owner reads all that lies under their id",
    file: "supabase/schemas/media/policies.sql",
    line: `create policy media_select_own on storage.objects for select to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and public.is_readable_file(bucket_id, name)`,
    broken: `create policy media_select_own on storage.objects for select to authenticated
  using (
    bucket_id in ('image_uploads', 'training-data', 'lora_files', 'temporary')
    and (storage.foldername(name))[1] = (select auth.uid()::text)`,
    tests,
    named: "check 61: a status that completes",
  },
  {
    check: 61,
    breaks: "an issued file counts as delivered",
    file: "supabase/schemas/media/functions/is_readable_file.sql",
    line: `
                  and (file.delivered_at is not null or file.published_at is not null));`,
    broken: `);`,
    tests,
    named: "check 61: a status that completes",
  },
  {
    check: 61,
    breaks: "a path has no random part",
    file: "supabase/schemas/media/functions/issue_output_paths.sql",
    line: `left(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), 32)`,
    broken: `md5(task.id::text || name)`,
    tests,
    named: "check 61: uploads, further pictures",
  },
  {
    check: 61,
    breaks: "what workers report names paths",
    file: "supabase/schemas/media/functions/hide_output_paths.sql",
    line: `  new.error_message := public.without_output_paths(new.error_message);\n`,
    broken: ``,
    tests,
    named: "check 61: what workers report",
  },
  {
    check: 61,
    breaks: "a part that its owner creates opens its orchestrator's files",
    file: "supabase/schemas/media/functions/publish_inputs.sql",
    line: `
                    and run.claimed_by_owner = by_owner);`,
    broken: `);`,
    tests,
    named: "check 61: a part reads the clip",
  },
  {
    check: 61,
    breaks: "files of ended runs are looked at and kept",
    file: "supabase/schemas/media/functions/take_abandoned_files.sql",
    line: `             else coalesce(file.deleting_since, now()) end`,
    broken: `             else file.deleting_since end`,
    tests,
    named: "check 61: children that upload",
  },
  {
    check: 61,
    breaks: "files of a run that is under way are deleted",
    file: "supabase/schemas/media/functions/take_abandoned_files.sql",
    line: `(run.status = 'In Progress' and run.attempt = file.attempt`,
    broken: `(false`,
    tests,
    named: "check 61: a run that is under way",
  },
  {
    check: 61,
    breaks: "a task is completed with files that a complete task of its project did not deliver",
    file: "supabase/schemas/tasks/functions/output_is_stored.sql",
    line: `  return (maker_status is null or public.is_readable_file('image_uploads', path))
    and exists`,
    broken: `  return exists`,
    tests,
    named: "check 61: a task is completed with files",
  },
  {
    check: 61,
    breaks: "an upload URL may replace what is delivered, where storage keeps no finished files",
    file: "supabase/schemas/media/functions/deliver_files.sql",
    line: `  if cardinality(own) > 0 and not public.keeps_finished_files() then`,
    broken: `  if false then`,
    tests,
    named: "check 61: where storage cannot keep",
  },
];
