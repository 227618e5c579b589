/** The page of a search: its text, and in a real browser where there is one. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { renderSearchPage } from '../../src/search/page/index.js'
import type { SearchRecord } from '../../src/search/types.js'
import { BROWSER, closeBrowser, open, smallestText, violations } from '../support/browser.js'
import { part } from '../support/page.js'
import { real, recordOf, some } from './records.js'

const test = suite('the page of a search')
test.after(closeBrowser)

const one = (): SearchRecord => recordOf({ dimensions: [real('merge.parameters.t')], trials: 1, metric: () => 0.5 })
const failed = (): SearchRecord => recordOf({ dimensions: [real('a'), real('b')], trials: 9, metric: () => undefined })
const large = (): SearchRecord =>
  recordOf({
    dimensions: Array.from({ length: 12 }, (_, i) => real(`merge.rules.${i}.weights.a-model-with-a-long-name`)),
    trials: 2000,
    metric: (point, index) => (index % 50 === 0 ? -1e6 : Number(point[0]) + Number(point[4])),
  })

const EVIL = '</script><img src=x onerror="pwned=1"><b>\u202e\u0007'

function hostile(): SearchRecord {
  const record = recordOf({
    ...{ dimensions: [real(EVIL), { path: `b.${EVIL}`, range: { kind: 'choice', values: [EVIL, 'y'] } }], trials: 8 },
    ...{ name: EVIL, metric: (_: unknown, index: number) => (index === 3 ? undefined : index) },
  })
  const trials = record.trials.map((trial) => (trial.state === 'failed' ? { ...trial, reason: EVIL } : trial))
  return {
    ...record,
    recipe: EVIL,
    version: EVIL,
    start: [EVIL, EVIL],
    trials,
    repeat: { score: 1, digest: EVIL, sameDigest: false },
  }
}

test('the page has the best trial, its repeat, the failures and every trial, and loads nothing', () => {
  const page = renderSearchPage(some())
  assert.is(page, renderSearchPage(some()))
  assert.match(page, /Made and evaluated again: the same bytes, the same score/)
  assert.match(page, /4 trials failed and were skipped/)
  assert.match(page, /the command ended with exit code 1<\/div><\/td><td data-label="Trials" class="number"><div>4/)
  assert.match(page, /Objective: minimize <code>loss<\/code>/)
  assert.match(page, /functional ANOVA/)
  assert.match(page, "default-src 'none'")
  assert.not.match(page, /(src|href)="(?!#)/)
  const { columns, rows } = JSON.parse(part(page, '<script type="application/json" id="data">', '</script>'))
  assert.equal(
    columns.map(({ title }: { title: string }) => title),
    ['Trial', 'State', 'loss', 'weights.math', 'weights.code', 'method', 'other', 'Seconds'],
  )
  assert.is(rows.length, 40)
  // Trials have the numbers of the file of trials and of the terminal, from 0.
  const record = some()
  assert.equal([rows[0].cells[0], rows[39].cells[0]], [0, 39])
  assert.match(page, `<p>Trial ${record.best}, loss`)
  assert.match(page, '<div>7, 17, 27, 37</div>')
  // A line per trial, for wide and for narrow screens.
  assert.is(page.match(/<path class="way/g)!.length, 80)
})

test('a repeat that differs is shown', () => {
  const page = renderSearchPage({ ...some(), repeat: { score: -9, digest: 'xxh3t:1', sameDigest: false } })
  assert.match(page, /other bytes<\/b>, a score of -9 in place of/)
})

test('pages of one trial, of failed trials alone, and of none', () => {
  assert.match(renderSearchPage(one()), 'Too few trials succeeded')
  assert.match(renderSearchPage(failed()), 'No trial succeeded')
  const none = renderSearchPage({ ...failed(), trials: [] })
  assert.match(none, 'No trial succeeded')
  for (const page of [renderSearchPage(one()), renderSearchPage(failed()), none]) {
    assert.not.match(page, /NaN|Infinity|undefined/)
    // Every link leads to a section.
    for (const [, id] of page.matchAll(/href="#(\w+)"/g)) assert.match(page, `<section id="${id}">`)
  }
})

test('hostile names are escaped', () => {
  const page = renderSearchPage(hostile())
  assert.not.match(page, '<img')
  assert.not.match(page, /[\u202e\u0007]/)
  assert.is(page.match(/<\/script>/g)!.length, 2)
})

const inBrowser: Record<string, () => Promise<void>> = {
  'a column sorts, a choice filters table and lines, and a trial is marked by keyboard': async () => {
    const { page, seen } = await open(renderSearchPage(some()), { width: 1280 })
    assert.is(await page.textContent('#count'), '40 trials')
    const first = async (): Promise<string> =>
      (await page.locator('#rows tr').first().locator('td').nth(1).textContent())!
    await page.focus('th[data-sort="2"] button')
    await page.keyboard.press('Enter')
    assert.is(await first(), 'best')
    assert.is(await page.getAttribute('th[data-sort="2"]', 'aria-sort'), 'ascending')
    await page.locator('#rows .name').first().focus()
    await page.keyboard.press('Space')
    assert.is(await page.locator('.wide .way.marked').count(), 1)
    await page.selectOption('#which', '0.1')
    assert.is(await page.textContent('#count'), '4 of 40 trials')
    assert.is(await page.locator('.wide .way:not(.hidden)').count(), 4)
    await page.selectOption('#which', 'failed')
    assert.match(await first(), 'failed: the command ended')
    await page.click('#clear')
    assert.is(await page.locator('.way.marked').count(), 0)
    assert.equal(seen.errors, [])
  },
  'nothing keeps people out, on wide and on narrow screens': async () => {
    for (const [record, width, scheme] of [
      [some(), 1280, 'light'],
      [some(), 400, 'dark'],
      [failed(), 400, 'light'],
    ] as const) {
      const { page, seen } = await open(renderSearchPage(record), { width, scheme })
      assert.equal(await violations(page), [], `${width} ${scheme}`)
      assert.equal(seen.errors, [])
      await page.close()
    }
  },
  'narrow screens need no horizontal scrolling, with 2,000 trials of 12 parameters neither': async () => {
    for (const html of [renderSearchPage(large()), renderSearchPage(hostile())])
      for (const width of [320, 780]) {
        const { page, seen } = await open(html, { width })
        assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth')) <= width, `${width}`)
        assert.ok((await smallestText(page)).size >= 8)
        assert.is(await page.evaluate('document.images.length + typeof pwned'), '0undefined')
        assert.equal([seen.errors, seen.dialogs, seen.requests.length], [[], [], 1])
        await page.close()
      }
  },
}

if (BROWSER) for (const [name, run] of Object.entries(inBrowser)) test(name, run)
else
  test('no browser is installed', () => {
    console.log('\nskipped: the page of a search in a browser. Install Chromium, or write its path to CHROMIUM')
  })

test.run()
