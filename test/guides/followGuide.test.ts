import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { changeText, readGuide } from '../support/followGuide.js'

const PAGE = `# Adding

1. Write \`src/a.ts\`:

   \`\`\`ts
   export const a = 1

     // indented
   \`\`\`

2. Name it in \`src/all.ts\`, after \`first\`:

   \`\`\`diff
    import './first.js'
   +import './a.js'
   @@
   -export const all = [first]
   +export const all = [first, a]
   \`\`\`

   What \`src/b.ts\` shows:

   \`\`\`text
   nothing
   \`\`\`

\`\`\`sh
echo done
\`\`\`
`

test('a page is read as files to create, places to change and scripts to run', () => {
  const [create, change, run, ...more] = readGuide(PAGE)
  assert.equal(create, { kind: 'create', file: 'src/a.ts', text: 'export const a = 1\n\n  // indented\n' })
  assert.equal(change, {
    kind: 'change',
    file: 'src/all.ts',
    places: [
      { before: "import './first.js'\n", after: "import './first.js'\nimport './a.js'\n" },
      { before: 'export const all = [first]\n', after: 'export const all = [first, a]\n' },
    ],
  })
  assert.equal(run, { kind: 'run', script: 'echo done\n' })
  assert.equal(more, [])
})

test('a change needs its lines in the file exactly once', () => {
  const place = { before: 'b\n', after: 'b\n$&\n' }
  assert.is(changeText('a\nb\nc\n', [place]), 'a\nb\n$&\nc\n')
  assert.is(changeText('b\n', [place]), 'b\n$&\n')
  assert.throws(() => changeText('b\nb\n', [place]), /2 times/)
  assert.throws(() => changeText('ab\n', [place]), /0 times/)
  assert.throws(() => changeText('b\n', [{ before: '', after: 'x\n' }]), /times/)
})

test('a block whose paragraph names no file is an error of the page', () => {
  assert.throws(() => readGuide('text\n\n```ts\nlet a\n```\n'), /names no file/)
})

test.run()
