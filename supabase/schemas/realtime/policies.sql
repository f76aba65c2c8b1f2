-- Who may listen to private channels. Nobody may send to them: on these topics only the database speaks.
create policy messages_select_own on realtime.messages for select to authenticated
  using (public.may_read_topic(topic));
