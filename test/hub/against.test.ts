/** `terge plan --against` of models on the hub: what it publishes says whether bytes are the same. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Difference } from '../../src/index.js'
import { FIRST, SECOND, single, withHub } from './setup.js'

const THIRD = 'c'.repeat(40)

test('other commits with the same published files give the same bytes, also after a download', () =>
  withHub(
    {
      repositories: {
        'org/a': {
          commits: {
            [FIRST]: single(1),
            [SECOND]: { ...single(1), 'README.md': Buffer.from('# Another card') },
            [THIRD]: single(3),
          },
          refs: { main: FIRST },
        },
      },
    },
    async ({ hub, write, run }) => {
      const recipe = (name: string, commit: string): void =>
        void write(
          name,
          `terge: 1\nmodels: {a: "hf:org/a@${commit}", b: "hf:org/a@${FIRST}"}\nmerge: {method: linear}\noutput: out.safetensors\n`,
        )
      recipe('old.yml', FIRST)
      recipe('same.yml', SECOND)
      recipe('other.yml', THIRD)
      const against = async (name: string): Promise<Difference> => {
        const { out, err, code } = await run(['plan', name, '--against', 'old.yml', '--json'])
        assert.is(code, 0, err)
        return JSON.parse(out) as Difference
      }
      assert.equal([(await against('same.yml')).bytes, (await against('other.yml')).bytes], ['same', 'differ'])
      assert.equal((await run(['run', 'same.yml'])).code, 0, hub.url)
      assert.is((await against('same.yml')).bytes, 'same')
    },
  ))

test.run()
