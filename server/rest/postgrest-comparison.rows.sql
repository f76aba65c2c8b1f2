truncate public.authors, public.books, public.covers, public.genres, public.book_genres, public.shelves,
  public.placements, public.notes, public.vaults, public.pairs, public.keyless restart identity;
insert into public.authors values (1, 'Ada', null, '1815-12-10'), (2, 'Bob', 1, null), (3, 'Cy, "the" \x', 1, '1950-01-01');
insert into public.books (author_id, editor_id, title, pages, price, mood, tags, data, raw, is_out, span, code) values
  (1, 2, 'Notes', 10, 12.5, 'glad', '{math,"a,b"}', '{"a":{"b":1},"n":[1,2],"s":"x"}', '{"k": 1}', true, '[1,5)', '00000000-0000-0000-0000-000000000001'),
  (1, null, 'Engines', 20, 7, 'sad', '{math}', '{"a":{"b":2}}', null, false, '[5,9)', null),
  (2, 1, 'Letters', null, null, 'glad', '{}', '{}', null, null, null, null),
  (null, 3, 'Cats and dogs', 30, 0.1, 'glad', '{x}', '{"s":"y","quo\"te":1}', null, true, '[3,4)', null);
insert into public.covers values (1, 'one.png', 3), (2, 'two.png', null);
insert into public.genres values (1, 'math'), (2, 'letters'), (3, 'empty');
insert into public.book_genres values (1, 1, 5), (1, 2, 1), (3, 2, 2);
insert into public.shelves values (1, 'top'), (2, 'low');
insert into public.placements (shelf_id, book_id, position) values (1, 1, 2), (1, 2, 1), (2, 1, 1);
insert into public.notes (owner, book_id, text, secret) values
  ('00000000-0000-0000-0000-00000000000a', 1, 'ada one', 's'), ('00000000-0000-0000-0000-00000000000a', 2, 'ada two', null),
  ('00000000-0000-0000-0000-00000000000b', 1, 'bob one', 't');
insert into public.vaults values (1, 424242);
insert into public.pairs values (1, 1, 'x'), (1, 2, 'y');
insert into public.keyless values (1), (2);
