/** Attempts end at their timeouts and at an abort, even if what makes the request does not heed its signal. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Attempt, attempt, RequestError } from '../../src/storage/remote/request.js'
import type { Answer } from '../../src/storage/remote/types.js'

const LONG = { answerTimeout: 60_000, byteTimeout: 60_000 }
const never = new Promise<never>(() => {})
const refusal = () => new RequestError('refused')
/** One piece, and then nothing. */
const stalled = () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(3)) }))

async function whole(answer: Promise<Answer>): Promise<number> {
  let bytes = 0
  for await (const piece of (await answer).chunks()) bytes += piece.length
  return bytes
}

const CASES: readonly (readonly [name: string, send: Attempt['send'], more?: Partial<Attempt>])[] = [
  ['no answer', () => never],
  ['no more bytes', async () => stalled()],
  ['no reason', async () => new Response(null, { status: 500 }), { refusal: () => never }],
]

for (const [name, send, more] of CASES) {
  test(`${name}, and an abort`, async () => {
    const user = new AbortController()
    const failed = whole(attempt({ timeouts: LONG, send, refusal, signal: user.signal, ...more })).catch(
      (error: unknown) => error,
    )
    await new Promise((resolve) => setImmediate(resolve))
    user.abort(new Error('by the user'))
    assert.is(((await failed) as Error).message, 'by the user')
  })

  test(`${name}, and a timeout`, async () => {
    const timeouts = { answerTimeout: 5, byteTimeout: 5 }
    const failed = await whole(attempt({ timeouts, send, refusal, ...more })).catch((error: unknown) => error)
    assert.instance(failed, RequestError)
    assert.match((failed as Error).message, /^no (answer within|data for) 0\.005 s$/)
    assert.ok((failed as RequestError).passing)
  })
}

test('an answer that comes after the timeout is not read', async () => {
  let cancelled = false
  const body = new ReadableStream({
    cancel() {
      cancelled = true
    },
  })
  const late = new Response(body)
  const send = () => new Promise<Response>((resolve) => setTimeout(() => resolve(late), 30))
  const failed = await attempt({ timeouts: { answerTimeout: 5, byteTimeout: 5 }, send, refusal }).catch(
    (e: unknown) => e,
  )
  assert.instance(failed, RequestError)
  await new Promise((resolve) => setTimeout(resolve, 60))
  assert.ok(cancelled)
})

test.run()
