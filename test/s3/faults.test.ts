/** Keys and settings from the environment and the files of the AWS tools, and errors that show none of them. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { s3Parts } from '../../src/language/names.js'
import type { Environment } from '../../src/storage/s3/profile.js'
import { s3Settings } from '../../src/storage/s3/settings.js'
import { asyncFaultOf } from '../checkpoints/helpers.js'
import { single } from '../hub/setup.js'
import type { S3Options } from './server.js'
import { KEYS, under, withS3 } from './setup.js'

const buckets = { bucket: under('m/', single(1)) }

test('each refusal has a code and a hint, and no message shows a key or the address', () =>
  withS3({ buckets, keys: { ...KEYS, token: 'SESSION-TOKEN-123' } }, async ({ s3, run, write }) => {
    const inspect = (env: NodeJS.ProcessEnv = {}) => run(['inspect', 's3://bucket/m'], env)
    const cases: readonly (readonly [NodeJS.ProcessEnv, Partial<S3Options>, RegExp])[] = [
      [
        { AWS_SECRET_ACCESS_KEY: 'other-secret-1234' },
        {},
        /error s3-credentials: .*does not belong[\s\S]*hint: check AWS_SECRET/,
      ],
      [{ AWS_ACCESS_KEY_ID: 'AKIAOTHERKEY00000000' }, {}, /error s3-credentials: .*does not know the access key/],
      [{ AWS_SESSION_TOKEN: '' }, {}, /error s3-credentials: .*session token[\s\S]*aws configure export-credentials/],
      [
        { AWS_ACCESS_KEY_ID: '' },
        {},
        /error s3-credentials: AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not/,
      ],
      [
        { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' },
        {},
        /error s3-forbidden: .*without credentials[\s\S]*AWS_PROFILE/,
      ],
      [{}, { disturb: () => ({ status: 403, code: 'AccessDenied' }) }, /error s3-forbidden: [\s\S]*s3:ListBucket/],
      [
        {},
        { disturb: () => ({ status: 403, code: 'RequestTimeTooSkewed' }) },
        /error s3-clock: [\s\S]*hint: set the clock/,
      ],
      [
        {},
        { disturb: () => ({ status: 400, code: 'ExpiredToken' }) },
        /error s3-credentials: .*expired[\s\S]*export-credentials/,
      ],
      // A code that is a part of the key.
      [
        {},
        { disturb: () => ({ status: 400, code: 'AKIATESTKEYOFTERGE' }) },
        /error s3-unreachable: .*failed: status 400$/m,
      ],
      [{}, { disturb: () => ({ status: 301 }) }, /error s3-unreachable: .*status 301/],
      [
        { AWS_ENDPOINT_URL_S3: 'http://user:pass-1234@host' },
        {},
        /error bad-environment: AWS_ENDPOINT_URL_S3 may have only/,
      ],
      [{ AWS_REGION: 'Not a region' }, {}, /error bad-environment: AWS_REGION/],
      [
        { AWS_PROFILE: 'nobody', AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' },
        {},
        /error s3-credentials: there is no profile 'nobody'/,
      ],
    ]
    const { options } = s3
    for (const [env, change, expected] of cases) {
      s3.options = { ...options, ...change }
      const { code, out, err } = await inspect(env)
      assert.is(code, 2, err)
      assert.match(err, expected)
      for (const secret of [KEYS.id, KEYS.secret, 'SESSION-TOKEN', new URL(s3.url).host, 'pass-1234', 'AWS4-HMAC'])
        assert.not.ok(`${out}${err}`.includes(secret), `${secret}: ${err}`)
    }
    s3.options = options
    for (const [address, expected] of [
      ['s3://nowhere/m', /error s3-not-found: s3:\/\/nowhere\/m: there is no bucket 'nowhere'/],
      ['s3://bucket/n', /error s3-not-found: s3:\/\/bucket\/n: there is no object or folder 'n'/],
      ['s3://bucket/m/other.safetensors', /error s3-not-found: /],
      ['s3://bucket/../m', /error bad-value: 's3:\/\/bucket\/\.\.\/m' is not an address in an S3 store/],
      ['s3://', /error bad-value/],
    ] as const) {
      const { code, err } = await run(['inspect', address])
      assert.is(code, 2)
      assert.match(err, expected)
    }
    write(
      'r.yml',
      'terge: 1\nmodels: {a: s3://b//c, b: {path: "s3://b/c", revision: x, lora: "s3://"}}\nmerge: {method: linear}\noutput: o\n',
    )
    const { err } = await run(['validate', 'r.yml'])
    assert.match(err, /r\.yml:2:13: error bad-value: 's3:\/\/b\/\/c' is not an address in an S3 store/)
    assert.match(err, /error contradiction: a revision belongs to a hub repository/)
    assert.match(err, /error bad-value: 's3:\/\/' is not an address/)
  }))

test('the region that a store names is used, and a model is read with the keys of a profile', () =>
  withS3({ buckets, keys: KEYS }, async ({ s3, run, write }) => {
    write(
      'aws/config',
      '[default]\nregion = eu-west-1\n[profile work]\nregion=us-east-1\ns3 =\n  addressing_style = path\nendpoint_url = http://127.0.0.1:1/\n',
    )
    write('aws/credentials', `# keys\n[work]\naws_access_key_id = ${KEYS.id}\naws_secret_access_key=${KEYS.secret}\n`)
    const env = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_PROFILE: 'work' }
    const ran = await run(['inspect', 's3://bucket/m/'], env)
    assert.is(ran.code, 0, ran.err)
    s3.options = { ...s3.options, region: 'eu-north-1' }
    const moved = await run(['inspect', 's3://bucket/m'])
    assert.is(moved.code, 0, moved.err)
    assert.ok(s3.seen.some(({ headers }) => headers.authorization?.includes('/eu-north-1/s3/aws4_request')))
  }))

test('settings: priorities, and profiles whose keys other programs make', () =>
  withS3({ buckets }, async ({ folder, write }) => {
    const base: Environment = {
      AWS_CONFIG_FILE: `${folder}/c`,
      AWS_SHARED_CREDENTIALS_FILE: `${folder}/k`,
      TERGE_CACHE: folder,
    }
    assert.equal(await s3Settings(base), {
      region: 'us-east-1',
      cache: `${folder}/s3`,
      answerTimeout: 10_000,
      byteTimeout: 30_000,
    })
    write(
      'c',
      '[default]\nregion = eu-west-1\nendpoint_url = https://profile.example/x/\n[profile sso]\nsso_session = a\nregion = eu-west-2\n',
    )
    write('k', '[default]\naws_access_key_id = A\naws_secret_access_key = B\naws_session_token = C\n')
    const found = await s3Settings(base)
    assert.equal(found.credentials, { accessKeyId: 'A', secretAccessKey: 'B', sessionToken: 'C' })
    assert.is(found.region, 'eu-west-1')
    assert.is(found.endpoint, 'https://profile.example/x')
    const own = {
      ...base,
      AWS_ACCESS_KEY_ID: 'D',
      AWS_SECRET_ACCESS_KEY: 'E',
      AWS_DEFAULT_REGION: 'us-west-2',
      AWS_ENDPOINT_URL: 'http://a:1',
    }
    assert.equal((await s3Settings(own)).credentials, { accessKeyId: 'D', secretAccessKey: 'E' })
    assert.is((await s3Settings(own)).region, 'us-west-2')
    assert.is((await s3Settings({ ...own, AWS_ENDPOINT_URL_S3: 'http://b:2/' })).endpoint, 'http://b:2')
    const { code, hint } = await asyncFaultOf(() => s3Settings({ ...base, AWS_PROFILE: 'sso' }))
    assert.is(code, 's3-credentials')
    assert.match(hint ?? '', 'eval "$(aws configure export-credentials --profile sso --format env)"')
    const header = await asyncFaultOf(() => s3Settings({ ...own, AWS_ACCESS_KEY_ID: 'a\nb' }))
    assert.is(header.code, 's3-credentials')
  }))

test('addresses', () => {
  for (const [address, expected] of [
    ['s3://bucket', { bucket: 'bucket', key: '' }],
    ['s3://bucket/', { bucket: 'bucket', key: '' }],
    ['s3://bucket/a/b///', { bucket: 'bucket', key: 'a/b' }],
    ['s3://my.bucket/a b+é:1.safetensors', { bucket: 'my.bucket', key: 'a b+é:1.safetensors' }],
    ['s3://', undefined],
    ['s3://b', undefined],
    ['s3:///a', undefined],
    ['s3://bucket//a', undefined],
    ['s3://bucket/a/../b', undefined],
    ['s3://bucket/./b', undefined],
    ['s3://user:password@bucket/a', undefined],
    ['hf:org/name', undefined],
  ] as const)
    assert.equal(s3Parts(address), expected, address)
})

test.run()
