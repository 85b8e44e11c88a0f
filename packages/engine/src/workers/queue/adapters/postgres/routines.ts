/**
 * The functions that live in the database: what must happen in one transaction and takes more than one
 * statement is one call, so no transaction waits for the network. `enqueue` is for applications.
 */
export const ROUTINES = `
-- Milliseconds since the epoch, by the server's clock.
CREATE FUNCTION trine.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Texts of any length as part of an index: long ones by their hash.
CREATE FUNCTION trine.short(value text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN length(value) <= 200 THEN value ELSE 'md5:' || md5(value) END $$;

CREATE FUNCTION trine.lane_of(serial boolean, namespace text, function_id text, group_key text, rate_key text)
RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN serial THEN 'g' || trine.short(coalesce(group_key, ''))
               ELSE 'f' || trine.short(namespace || chr(1) || function_id || coalesce(chr(1) || rate_key, '')) END $$;

-- Takes a unique key. Answers the receipt of the job that has it, or null when it is ours now.
-- Statements see what was committed before each began, so the row is locked before the job is looked for.
CREATE FUNCTION trine.take_unique(p_line bigint, p_key text, p_receipt text, p_until bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_owner trine.unique_keys%ROWTYPE;
BEGIN
  LOOP
    INSERT INTO trine.unique_keys (line, key, receipt, until) VALUES (p_line, trine.short(p_key), p_receipt, p_until)
      ON CONFLICT (line, key) DO NOTHING;
    IF FOUND THEN RETURN NULL; END IF;
    SELECT * INTO v_owner FROM trine.unique_keys WHERE line = p_line AND key = trine.short(p_key) FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    IF v_owner.receipt = p_receipt THEN RETURN NULL; END IF;
    IF v_owner.until > trine.now_ms() THEN RETURN v_owner.receipt; END IF;
    IF v_owner.until IS NULL AND EXISTS (SELECT FROM trine.jobs WHERE receipt = v_owner.receipt)
      THEN RETURN v_owner.receipt; END IF;
    UPDATE trine.unique_keys SET receipt = p_receipt, until = p_until WHERE line = p_line AND key = trine.short(p_key);
    RETURN NULL;
  END LOOP;
END $$;

-- Stores jobs, in order. Those whose receipt is there already are left alone.
CREATE FUNCTION trine.insert_jobs(p_jobs json) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY INSERT INTO trine.jobs AS j (line, lane, state, priority, size, due, expires_at, created_at, max_attempts, backoff_ms,
    receipt, function_id, namespace, group_key, rate_key, traceparent, baggage, options, metadata, data)
  SELECT x.line, trine.lane_of(l.serial, x.ns, x.fn, x.grp, x.rate), CASE WHEN x.due > t.now THEN 1 ELSE 0 END,
    coalesce(x.prio, 0), x.size, CASE WHEN x.due > t.now THEN x.due END, x.expires, x.created, x.tries, x.backoff,
    x.receipt, x.fn, x.ns, CASE WHEN l.serial THEN coalesce(x.grp, '') ELSE x.grp END, x.rate, x.trace, x.baggage,
    x.options, x.meta, x.data
  FROM (SELECT trine.now_ms() AS now) t
  CROSS JOIN LATERAL (
    SELECT y.*, CASE WHEN y.delay > 0 THEN t.now + y.delay ELSE y.run_at END AS due
    FROM ROWS FROM (json_to_recordset(p_jobs) AS (line bigint, receipt text, fn text, ns text, grp text, data text,
      size integer, meta text, trace text, baggage text, created bigint, tries bigint, backoff bigint, prio smallint,
      rate text, expires bigint, options text, delay bigint, run_at bigint)) WITH ORDINALITY y
    OFFSET 0
  ) x
  JOIN trine.lines l ON l.id = x.line
  ORDER BY x.ordinality
  ON CONFLICT (receipt) DO NOTHING
  RETURNING j.receipt;
END $$;

-- Refuses jobs of a queue that is not there. Its number is the detail.
CREATE FUNCTION trine.need_lines(p_jobs json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_line text;
BEGIN
  SELECT value->>'line' INTO v_line FROM json_array_elements(p_jobs)
    WHERE NOT EXISTS (SELECT FROM trine.lines WHERE id = (value->>'line')::bigint) LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the queue is not in PostgreSQL any more: someone deleted it from the table lines'
      USING ERRCODE = '22TRN', DETAIL = v_line;
  END IF;
END $$;

-- The same for jobs with unique keys. Answers each receipt with that of the job that has its key already.
CREATE FUNCTION trine.insert_unique(p_jobs json) RETURNS TABLE (receipt text, taken_by text) LANGUAGE plpgsql AS $$
DECLARE
  v_job json;
BEGIN
  PERFORM trine.need_lines(p_jobs);
  FOR v_job IN SELECT value FROM json_array_elements(p_jobs) LOOP
    receipt := v_job->>'receipt';
    taken_by := NULL;
    IF v_job->>'key' IS NOT NULL THEN
      taken_by := trine.take_unique((v_job->>'line')::bigint, v_job->>'key', receipt,
        trine.now_ms() + (v_job->>'keyMs')::bigint);
    END IF;
    IF taken_by IS NULL THEN PERFORM trine.insert_jobs(json_build_array(v_job)); END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- Notes that a batch is stored, in the transaction that stores it. Refuses one that was given up.
CREATE FUNCTION trine.end_batch(p_writer text, p_batch bigint, p_answer json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- A pooler may give us connections that were not told.
  IF current_setting('synchronous_commit') = 'off' THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;
  INSERT INTO trine.batches AS b (writer, batch, given_up, answer, at)
    VALUES (p_writer, p_batch, false, p_answer, trine.now_ms())
    ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, given_up = false, answer = excluded.answer, at = excluded.at
      WHERE b.batch < excluded.batch;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'batch % of writer % comes too late: it was given up', p_batch, p_writer USING ERRCODE = '40001';
  END IF;
END $$;

-- Gives up a writer's last batch, unless it is stored: from now on it cannot be. Waits for it where it is being stored.
CREATE FUNCTION trine.give_up(p_writer text, p_batch bigint) RETURNS TABLE (given_up boolean, answer json)
LANGUAGE sql AS $$
  INSERT INTO trine.batches AS b (writer, batch, given_up, at) VALUES (p_writer, p_batch, true, trine.now_ms())
    ON CONFLICT (writer) DO UPDATE SET
      batch = greatest(b.batch, p_batch), given_up = b.given_up OR b.batch < p_batch,
      answer = CASE WHEN b.batch < p_batch THEN NULL ELSE b.answer END, at = excluded.at
    RETURNING b.given_up, b.answer
$$;

-- 'insert_jobs' as a batch. Answers the receipts that were there already.
CREATE FUNCTION trine.store_jobs(p_writer text, p_batch bigint, p_jobs json, p_count integer) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
  v_stored text[] := ARRAY(SELECT trine.insert_jobs(p_jobs));
  v_answer json := '[]';
BEGIN
  IF cardinality(v_stored) < p_count THEN
    PERFORM trine.need_lines(p_jobs);
    SELECT coalesce(json_agg(value->>'receipt'), '[]') INTO v_answer FROM json_array_elements(p_jobs)
      WHERE NOT value->>'receipt' = ANY (v_stored);
  END IF;
  PERFORM trine.end_batch(p_writer, p_batch, v_answer);
  RETURN v_answer;
END $$;

-- 'insert_unique' as a batch. Answers, by receipt, those whose keys others have.
CREATE FUNCTION trine.store_unique(p_writer text, p_batch bigint, p_jobs json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  v_answer json;
BEGIN
  SELECT coalesce(json_object_agg(receipt, taken_by), '{}') INTO v_answer FROM trine.insert_unique(p_jobs) WHERE taken_by IS NOT NULL;
  PERFORM trine.end_batch(p_writer, p_batch, v_answer);
  RETURN v_answer;
END $$;

-- Puts the jobs of a line into the lanes that they belong to now.
CREATE FUNCTION trine.arrange(p_line bigint, p_serial boolean) RETURNS void LANGUAGE sql AS $$
  UPDATE trine.jobs SET lane = trine.lane_of(p_serial, namespace, function_id, group_key, rate_key),
    group_key = CASE WHEN p_serial THEN coalesce(group_key, '') ELSE group_key END
  WHERE line = p_line AND
    (lane <> trine.lane_of(p_serial, namespace, function_id, group_key, rate_key) OR (p_serial AND group_key IS NULL))
$$;

-- Locks a topic: publishers share it, a subscription that begins has it alone. So a message that is
-- published while the first subscription begins is either held before, or has a job for it.
CREATE FUNCTION trine.topic_lock(p_topic text) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT hashtextextended('trine.' || p_topic, 0) $$;

CREATE FUNCTION trine.subscribe(p_topic text, p_namespace text, p_function_id text, p_settings text, p_serial boolean,
  p_owner bigint, p_max_attempts bigint, p_backoff_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_line bigint;
  v_serial boolean;
BEGIN
  PERFORM pg_advisory_xact_lock(trine.topic_lock(p_topic));
  SELECT serial INTO v_serial FROM trine.lines
    WHERE kind = 'subscription' AND name = p_topic AND namespace = p_namespace AND function_id = p_function_id;
  INSERT INTO trine.lines AS l (kind, name, namespace, function_id, settings, serial)
    VALUES ('subscription', p_topic, p_namespace, p_function_id, p_settings, p_serial)
    ON CONFLICT (kind, name, namespace, function_id) DO UPDATE
      SET settings = excluded.settings, serial = excluded.serial, ended_at = NULL, offline_since = NULL
    RETURNING id INTO v_line;
  IF v_serial <> p_serial THEN PERFORM trine.arrange(v_line, p_serial); END IF;
  -- An engine whose lease ran out enters again, and says then what it serves.
  INSERT INTO trine.consumers (line, owner) SELECT v_line, id FROM trine.engines WHERE id = p_owner ON CONFLICT DO NOTHING;
  INSERT INTO trine.jobs (line, lane, state, size, created_at, max_attempts, backoff_ms, receipt, function_id, namespace,
      group_key, traceparent, baggage, message)
    SELECT v_line, trine.lane_of(p_serial, p_namespace, p_function_id, NULL, NULL), 0, size, created_at, p_max_attempts,
      p_backoff_ms, gen_random_uuid(), p_function_id, p_namespace, CASE WHEN p_serial THEN '' END, traceparent, baggage, id
    FROM trine.messages WHERE topic = p_topic AND held ORDER BY id;
  UPDATE trine.messages SET held = false WHERE topic = p_topic AND held;
  UPDATE trine.topics SET held_count = 0, held_bytes = 0 WHERE topic = p_topic AND held_count > 0;
  RETURN v_line;
END $$;

-- Stores messages with a job for each subscription. Answers, by number, the lines that got a job; or
-- what a topic without subscriptions holds, when that is all it may hold.
CREATE FUNCTION trine.publish(p_messages json, p_max_held bigint, p_max_held_bytes bigint, p_max_topics bigint)
RETURNS TABLE (nr integer, line bigint, units integer, full_of text) LANGUAGE plpgsql AS $$
DECLARE
  m record;
  v_topic trine.topics%ROWTYPE;
  v_held boolean;
  v_id bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(k) FROM (
    SELECT DISTINCT trine.topic_lock(value->>'topic') AS k FROM json_array_elements(p_messages) ORDER BY 1 OFFSET 0) locks;
  FOR m IN SELECT * FROM json_to_recordset(p_messages) AS y (nr integer, topic text, data text, size integer,
      trace text, baggage text, created bigint, keep bigint) LOOP
    nr := m.nr;
    line := NULL;
    units := NULL;
    full_of := NULL;
    v_held := NOT EXISTS (SELECT FROM trine.lines l WHERE kind = 'subscription' AND name = m.topic AND ended_at IS NULL);
    IF v_held OR m.keep IS NOT NULL THEN
      INSERT INTO trine.topics (topic) VALUES (m.topic) ON CONFLICT DO NOTHING;
      SELECT * INTO v_topic FROM trine.topics WHERE topic = m.topic FOR UPDATE;
    END IF;
    IF v_held THEN
      full_of := CASE
        WHEN v_topic.held_count >= p_max_held THEN v_topic.held_count || ' messages'
        WHEN v_topic.held_count > 0 AND v_topic.held_bytes + m.size > p_max_held_bytes THEN v_topic.held_bytes || ' bytes'
        WHEN v_topic.held_count = 0 AND (SELECT count(*) FROM trine.topics WHERE held_count > 0) >= p_max_topics
          THEN 'messages beside ' || p_max_topics || ' other such topics' END;
      IF full_of IS NOT NULL THEN
        RETURN NEXT;
        CONTINUE;
      END IF;
    END IF;
    INSERT INTO trine.messages (topic, held, size, created_at, keep_until, traceparent, baggage, data)
      VALUES (m.topic, v_held, m.size, m.created, m.created + m.keep, m.trace, m.baggage, m.data) RETURNING id INTO v_id;
    IF v_held THEN
      UPDATE trine.topics SET held_count = held_count + 1, held_bytes = held_bytes + m.size WHERE topic = m.topic;
    END IF;
    IF m.keep IS NOT NULL AND v_topic.kept_since IS NULL THEN
      UPDATE trine.topics SET kept_since = m.created WHERE topic = m.topic;
    END IF;
    RETURN QUERY
      INSERT INTO trine.jobs AS j (line, lane, state, size, created_at, max_attempts, backoff_ms, receipt, function_id,
        namespace, group_key, traceparent, baggage, message)
      SELECT l.id, trine.lane_of(l.serial, l.namespace, l.function_id, NULL, NULL), 0, m.size, m.created,
        (l.settings::json->>'maxAttempts')::bigint, (l.settings::json->>'backoffMs')::bigint, gen_random_uuid(),
        l.function_id, l.namespace, CASE WHEN l.serial THEN '' END, m.trace, m.baggage, v_id
      FROM trine.lines l WHERE l.kind = 'subscription' AND l.name = m.topic AND l.ended_at IS NULL ORDER BY l.id
      RETURNING m.nr, j.line, m.size, NULL::text;
  END LOOP;
END $$;

-- 'publish' as a batch. Answers the lines that got jobs with their number and their payload in UTF-16 units, and by
-- number what was full.
CREATE FUNCTION trine.store_messages(p_writer text, p_batch bigint, p_messages json, p_max_held bigint,
  p_max_held_bytes bigint, p_max_topics bigint) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  v_answer json;
BEGIN
  WITH published AS MATERIALIZED (SELECT * FROM trine.publish(p_messages, p_max_held, p_max_held_bytes, p_max_topics)),
    got AS (SELECT line, count(*) AS jobs, sum(units) AS units FROM published WHERE line IS NOT NULL GROUP BY line)
  SELECT json_build_object(
    'got', (SELECT coalesce(json_agg(got), '[]') FROM got),
    'full', (SELECT coalesce(json_object_agg(nr, full_of), '{}') FROM published WHERE full_of IS NOT NULL)) INTO v_answer;
  PERFORM trine.end_batch(p_writer, p_batch, v_answer);
  RETURN v_answer;
END $$;

-- For applications: stores a job in the transaction that calls it. Answers the receipt. It is delivered
-- after the commit, and was never there after a rollback. Runs with the rights of the schema's owner.
CREATE FUNCTION trine.enqueue(queue text, function_id text, data json, options json DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_line trine.lines%ROWTYPE;
  v_known text[] := ARRAY['backoff_list_ms', 'backoff_ms', 'delay_ms', 'expires_in_ms', 'group', 'max_retries', 'metadata',
    'namespace', 'priority', 'rate_key', 'run_at', 'timeout_ms', 'unique_key', 'unique_ms'];
  v_options json := coalesce(options, '{}');
  v_unknown text;
  v_group json;
  v_priority integer;
  v_now bigint := trine.now_ms();
  v_expires bigint;
  v_list json;
  v_extras json;
  v_receipt text := gen_random_uuid();
BEGIN
  IF function_id IS NULL OR function_id = '' THEN RAISE EXCEPTION 'function_id is required: the function that runs the job'; END IF;
  SELECT * INTO v_line FROM trine.lines l WHERE l.kind = 'queue' AND l.name = queue AND l.namespace = '' AND l.function_id = '';
  IF v_line.id IS NULL THEN
    RAISE EXCEPTION 'Queue ''%'' not found: name it in queue_configs of an engine that uses this schema and start that', queue;
  END IF;
  SELECT k INTO v_unknown FROM json_object_keys(v_options) AS k WHERE NOT k = ANY (v_known) LIMIT 1;
  IF v_unknown IS NOT NULL THEN
    RAISE EXCEPTION 'unknown option ''%'': known are %', v_unknown, array_to_string(v_known, ', ');
  END IF;
  IF v_line.serial THEN
    IF coalesce(v_options->>'priority', v_options->>'delay_ms', v_options->>'run_at') IS NOT NULL THEN
      RAISE EXCEPTION 'FIFO queue ''%'' refuses priority, delay_ms and run_at: its jobs run in the order in which they were accepted', queue;
    END IF;
    v_group := coalesce(v_options->'group', data->(v_line.defaults->>'groupField'));
    IF v_group IS NULL OR json_typeof(v_group) = 'null' THEN
      RAISE EXCEPTION 'FIFO queue ''%'' requires field ''%'' in data, but it was not found', queue, v_line.defaults->>'groupField';
    END IF;
    IF json_typeof(v_group) = 'string' THEN v_group := to_json(v_group #>> '{}'); END IF;
  ELSE
    IF v_options->>'group' IS NOT NULL THEN
      RAISE EXCEPTION 'Queue ''%'' has no groups: ''group'' is for queues of type ''fifo''', queue;
    END IF;
    v_priority := (v_options->>'priority')::integer;
    IF v_priority NOT BETWEEN 0 AND 255 THEN RAISE EXCEPTION 'priority is a whole number from 0 to 255'; END IF;
    IF v_priority IS NULL AND data->>(v_line.defaults->>'priorityField') ~ '^[0-9]{1,9}$' THEN
      v_priority := least((data->>(v_line.defaults->>'priorityField'))::integer, (v_line.defaults->>'maxPriority')::integer);
    END IF;
  END IF;
  v_expires := v_now + (v_options->>'expires_in_ms')::bigint;
  v_list := coalesce(v_options->'backoff_list_ms', CASE WHEN v_options->>'backoff_ms' IS NULL THEN v_line.defaults->'backoffListMs' END);
  v_extras := json_strip_nulls(json_build_object('priority', nullif(v_priority, 0), 'rateKey', v_options->>'rate_key',
    'uniqueKey', v_options->>'unique_key', 'expiresAt', v_expires, 'timeoutMs', (v_options->>'timeout_ms')::bigint, 'backoffListMs', v_list));
  SELECT coalesce(taken_by, receipt) INTO v_receipt FROM trine.insert_unique(json_build_array(json_build_object(
    'line', v_line.id, 'receipt', v_receipt, 'fn', function_id, 'ns', coalesce(v_options->>'namespace', 'default'),
    'grp', v_group::text, 'data', data::text, 'size', length(data::text), 'meta', (v_options->'metadata')::text, 'created', v_now,
    'tries', greatest(1, coalesce((v_options->>'max_retries')::bigint, (v_line.defaults->>'maxAttempts')::bigint, 3)),
    'backoff', coalesce((v_options->>'backoff_ms')::bigint, (v_line.defaults->>'backoffMs')::bigint, 1000),
    'prio', v_priority, 'rate', v_options->>'rate_key', 'expires', v_expires,
    'options', CASE WHEN v_extras::text <> '{}' THEN v_extras::text END,
    'delay', (v_options->>'delay_ms')::bigint, 'run_at', (v_options->>'run_at')::bigint,
    'key', v_options->>'unique_key', 'keyMs', (v_options->>'unique_ms')::bigint)));
  PERFORM pg_notify('trine:queue', '0:' || v_line.id);
  RETURN v_receipt;
END $$;
`;
