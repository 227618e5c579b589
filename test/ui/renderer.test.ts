import { PassThrough } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { RunEvent } from '../../src/execute/events.js'
import { formatProgress, meter } from '../../src/ui/progress/meter.js'
import { type RendererKind, renderer, rendererKind } from '../../src/ui/progress/renderer.js'
import type { Phases } from '../../src/ui/progress/types.js'

const start = (more: Partial<Extract<RunEvent, { kind: 'start' }>> = {}): Extract<RunEvent, { kind: 'start' }> => ({
  kind: 'start',
  read: 2e9,
  write: 1e9,
  tensors: 10,
  threads: 2,
  done: 0,
  ...more,
})
const progress = (read: number, written: number, tensors = 0) => ({ kind: 'progress', read, written, tensors }) as const

/** Events of a run of 100 seconds at 30 MB/s, by their moment. */
function* slowRun(): Generator<[seconds: number, event: RunEvent]> {
  yield [0, { kind: 'notice', message: 'fewer threads' }]
  yield [0, { kind: 'phase', phase: 'merging' }]
  yield [0, start()]
  for (let tick = 1; tick <= 1000; tick++) yield [tick / 10, progress(tick * 2e6, tick * 1e6, Math.floor(tick / 100))]
  yield [100, { kind: 'phase', phase: 'flushing' }]
  yield [101, { kind: 'output', path: '/out', bytes: 1e9, tensors: 10 }]
  yield [101, { kind: 'end', seconds: 101 }]
}

async function render(
  kind: RendererKind,
  events: Iterable<[number, RunEvent]>,
  outcome: 'done' | 'failed' = 'done',
  phases: Phases = ['preparing', 'merging', 'publishing'],
  columns = 80,
): Promise<string> {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns, rows: 24 })
  let text = ''
  stream.on('data', (chunk) => {
    text += chunk
  })
  let time = 0
  const options = { stream: stream as unknown as NodeJS.WriteStream, now: () => time, phases }
  const { listen, finish } = await renderer(kind, options)
  for (const [seconds, event] of events) {
    time = seconds
    listen(event)
    // As in a run, whose events come from other threads: between them the loop turns.
    if (kind === 'terminal' && event.kind !== 'progress') await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await finish(outcome)
  return text
}

test('JSON: one line per event, unchanged', async () => {
  const events = [...slowRun()]
  const lines = (await render('json', events)).trimEnd().split('\n')
  assert.equal(
    lines.map((line) => JSON.parse(line)),
    events.map(([, event]) => event),
  )
})

test('plain: sparse lines, with rate and time left', async () => {
  const lines = (await render('plain', slowRun())).trimEnd().split('\n')
  assert.is(lines[0], 'note: fewer threads')
  assert.is(lines[1], 'merging 10 tensors: 2.00 GB to read, 1.00 GB to write, 2 threads')
  assert.is(lines[2], '10 %, 300 MB of 3.00 GB, 30.0 MB/s, 90 s left')
  assert.is(lines.at(-1), 'done in 1 min 41 s')
  assert.ok(lines.length >= 10 && lines.length <= 14, String(lines.length))
  const short = await render('plain', [
    [0, start({ tensors: 1, threads: 1, done: 5e8 })],
    [0.1, progress(1e9, 1e9, 1)],
    [0.2, { kind: 'end', seconds: 0.2 }],
  ])
  assert.is(
    short,
    'merging 1 tensor: 2.00 GB to read, 1.00 GB to write, 1 thread; 500 MB already done\ndone in 0.2 s\n',
  )
})

test('plain: a step’s words, seldom, free of control characters', async () => {
  const step = (fraction: number): RunEvent => ({ kind: 'step', step: 'align\u001b[2J', text: 'group 1', fraction })
  const text = await render(
    'plain',
    Array.from({ length: 101 }, (_, i): [number, RunEvent] => [i / 10, step(i / 100)]),
  )
  const lines = text.trimEnd().split('\n')
  assert.equal(lines, ['align\ufffd[2J: group 1 (20 %, 8.0 s left)', 'align\ufffd[2J: group 1'])
})

test('terminal: phases end ticked, notices after them', async () => {
  const drawn = stripVTControlCharacters(await render('terminal', slowRun()))
  assert.match(
    drawn,
    /\S preparing\n\S merging: 100 %, 3\.00 of 3\.00 GB, 30\.0 MB\/s\n\S publishing: done in 1 min 41 s\nnote: fewer threads\n$/,
  )
})

test('terminal: a merge that is over is complete, also if its last bytes had no event', async () => {
  const whole = [...slowRun()]
  const events = whole.filter(([seconds, { kind }]) => kind !== 'progress' || seconds <= 70)
  const drawn = stripVTControlCharacters(await render('terminal', events))
  assert.match(drawn, /\S merging: 100 %, 3\.00 of 3\.00 GB, 30\.0 MB\/s\n\S publishing: done in 1 min 41 s\n/)
})

test('terminal: a bar, the bytes, the rate, the time left and the tensor under way, in every line within the width', async () => {
  const tensor = 'model.layers.10.block_sparse_moe.experts.7.gate_projection.weight'
  for (const columns of [20, 40, 80, 200]) {
    const events: [number, RunEvent][] = [
      [0, { kind: 'phase', phase: 'merging' }],
      [0, start()],
      [10, { ...progress(2e8, 1e8), tensor }],
      [10, { kind: 'notice', message: 'seen' }],
    ]
    const drawn = stripVTControlCharacters(await render('terminal', events, 'failed', undefined, columns))
    const lines = drawn.split('\n')
    assert.ok(
      lines.every((line) => line.length <= columns),
      `${columns}: ${lines.join('\n')}`,
    )
    const tail = `  …${tensor.slice(4 + 1 - columns)}`
    assert.ok(lines.includes(columns > 70 ? `  ${tensor}` : tail), `${columns}: ${lines.join('\n')}`)
    if (columns === 40) {
      assert.match(drawn, /merging ━+─+ 10 %, 90 s left\n/)
      assert.match(drawn, '\n  300 MB of 3.00 GB, 30.0 MB/s\n')
    }
    if (columns >= 80) assert.match(drawn, /merging ━+─+ 10 %, 300 MB of 3\.00 GB, 30\.0 MB\/s, 90 s left\n/)
  }
})

test('terminal: an alignment shows its overall progress, the similarity and the time left', async () => {
  const step = (overall: number): RunEvent => ({
    ...{ kind: 'step', step: 'aligned', text: 'sweep 2, group 1 of 5 (fc1): 7 units moved' },
    ...{ fraction: overall, overall, similarity: 0.25 },
  })
  const drawn = stripVTControlCharacters(
    await render(
      'terminal',
      [
        [0, step(0.25)],
        [10, step(0.5)],
      ],
      'failed',
    ),
  )
  assert.match(
    drawn,
    /preparing ━+─+ 50 %, 20 s left\n {2}aligned: sweep 2, group 1 of 5 \(fc1\): 7 units moved\n {2}similarity 0\.2500\n/,
  )
})

test('terminal: a failure stops the current phase and leaves the cursor visible', async () => {
  const events = [...slowRun()].slice(0, 30)
  const raw = await render('terminal', events, 'failed')
  assert.match(stripVTControlCharacters(raw), 'merging: stopped')
  assert.ok(raw.lastIndexOf('\u001b[?25h') > raw.lastIndexOf('\u001b[?25l'))
})

test('terminal: a command without a run has one phase of its own', async () => {
  const step = (fraction: number): RunEvent => ({ kind: 'step', step: 'lock', text: 'reading tensors', fraction })
  const events: [number, RunEvent][] = [
    [0, step(0.5)],
    [1, step(1)],
  ]
  const drawn = stripVTControlCharacters(await render('terminal', events, 'done', ['locking']))
  assert.match(drawn, /\S locking: lock: reading tensors\n$/)
  assert.not.match(drawn, /preparing|merging|publishing/)
})

test('terminal: work without phases draws nothing', async () => {
  assert.is(await render('terminal', [], 'done'), '')
})

test('the stream determines the kind of renderer', () => {
  const terminal = { isTTY: true, columns: 80 }
  assert.is(rendererKind(true, terminal, {}), 'json')
  assert.is(rendererKind(false, terminal, {}), 'terminal')
  assert.is(rendererKind(false, {}, {}), 'plain')
  assert.is(rendererKind(false, terminal, { TERM: 'dumb' }), 'plain')
  assert.is(rendererKind(false, terminal, { CI: '1' }), 'plain')
  assert.is(rendererKind(false, { isTTY: true, columns: 0 }, {}), 'plain')
})

test('the meter: whole at the end, also of a resumed run, and never without sense', () => {
  let time = 0
  const { start: begin, progress: at } = meter(() => time)
  begin(start({ done: 5e8 }))
  time = 1
  const half = at(progress(0, 5e8))
  assert.equal([half.fraction, half.rate, 'secondsLeft' in half], [0.5, 0, false])
  time = 2
  const later = at(progress(5e8, 7.5e8))
  assert.is(later.fraction, 0.75)
  assert.ok(later.rate > 0 && later.secondsLeft! > 0)
  assert.is(at(progress(1e9, 1e9)).fraction, 1)
  begin(start({ read: 0, write: 0, tensors: 0 }))
  assert.is(formatProgress(at(progress(0, 0))), '100 %')
})

test.run()
