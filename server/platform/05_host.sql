-- What the hosts of one database must agree on, where they do not share a folder.
create schema if not exists darkroom_host;

create table if not exists darkroom_host.secrets (
  name text primary key,
  value text not null
);
