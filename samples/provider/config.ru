# A provider of add-ons: namespaces of keys and values over HTTP, on a volume.
#
# The node calls /heroku/resources and /sso; apps call the URL in their config var KEYVALUE_URL.
require 'digest'
require 'fileutils'
require 'json'
require 'securerandom'
require 'uri'

class Provider
  Refused = Class.new(StandardError)
  KEYS = { 'mini' => 3, 'large' => 1000 }.freeze
  ID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/
  VALUE = 64 << 10

  def call(env)
    method, path = env.values_at('REQUEST_METHOD', 'PATH_INFO')
    case [method, path]
    in ['POST', '/heroku/resources'] then manage(env) { provision(json(env)) }
    in ['PUT', %r{\A/heroku/resources/(#{ID})\z}] then manage(env) { change_plan($1, json(env)['plan']) }
    in ['DELETE', %r{\A/heroku/resources/(#{ID})\z}] then manage(env) { deprovision($1) }
    in ['POST', '/sso'] then sign_in(URI.decode_www_form(env['rack.input'].read(8192).to_s).to_h)
    in ['GET' | 'PUT' | 'DELETE', %r{\A/namespaces/(#{ID})/([\w.-]{1,64})\z}] then value(env, $1, $2)
    else answer(404, message: 'not found')
    end
  rescue Refused, JSON::ParserError => e
    answer(422, message: e.message)
  end

  private

  # Only the node knows the password of the manifest.
  def manage(env)
    return answer(401, message: 'wrong credentials') unless same?(password(env), ENV.fetch('PROVIDER_PASSWORD'))

    yield
  end

  # The node may repeat a request: the same key is the same namespace.
  def provision(request)
    id, plan = request.values_at('uuid', 'plan')
    raise Refused, 'uuid is not a UUID' unless id.to_s.match?(/\A#{ID}\z/)

    made = about(id) || write_about(id, 'plan' => checked(plan), 'token' => SecureRandom.hex(16))
    url = URI(ENV.fetch('PUBLIC_URL'))
    url.userinfo = "namespace:#{made['token']}"
    answer(201, id: id, message: "#{KEYS[made['plan']]} keys", config: { KEYVALUE_URL: "#{url}/namespaces/#{id}" })
  end

  def change_plan(id, plan)
    made = about(id) or return answer(404, message: 'no such namespace')
    raise Refused, "#{plan} has room for fewer keys than there are" if keys(id).size > KEYS[checked(plan)]

    write_about(id, made.merge('plan' => plan))
    answer(200, message: "#{KEYS[plan]} keys")
  end

  def deprovision(id)
    FileUtils.rm_rf(folder(id))
    [204, {}, []]
  end

  # The token proves that the node has sent the browser, a moment ago.
  def sign_in(form)
    id, time = form.values_at('resource_id', 'timestamp')
    token = Digest::SHA1.hexdigest("#{id}:#{ENV.fetch('SSO_SALT')}:#{time}")
    is_recent = (Time.now.to_i - time.to_i).abs < 120
    return answer(403, message: 'sign in again') unless is_recent && same?(form['resource_token'], token) && about(id)

    [200, { 'content-type' => 'text/html' }, ["<h1>Namespace of #{form['app']}</h1><p>#{keys(id).size} keys</p>"]]
  end

  def value(env, id, key)
    made = about(id)
    return answer(401, message: 'wrong token') unless made && same?(password(env), made['token'])

    file = File.join(folder(id), "key-#{key}")
    case env['REQUEST_METHOD']
    when 'GET' then File.exist?(file) ? [200, {}, [File.binread(file)]] : answer(404, message: 'no such key')
    when 'DELETE' then FileUtils.rm_f(file).then { [204, {}, []] }
    else
      raise Refused, 'the namespace is full' if !File.exist?(file) && keys(id).size >= KEYS[made['plan']]

      write(file, env['rack.input'].read(VALUE).to_s).then { [204, {}, []] }
    end
  end

  def about(id)
    JSON.parse(File.read(File.join(folder(id), 'about.json'))) if id.to_s.match?(/\A#{ID}\z/)
  rescue Errno::ENOENT
    nil
  end

  def write_about(id, made)
    FileUtils.mkdir_p(folder(id))
    write(File.join(folder(id), 'about.json'), JSON.generate(made))
    made
  end

  # A file is replaced as a whole, and on the disk before the answer.
  def write(path, bytes)
    File.open("#{path}.#{SecureRandom.hex(4)}", 'wb') { |file| file.write(bytes).then { file.fsync }.then { File.rename(file.path, path) } }
  end

  def folder(id) = File.join(ENV.fetch('DATA', '/data'), id)
  def keys(id) = Dir.children(folder(id)).grep(/\Akey-[\w.-]+\z/)
  def checked(plan) = KEYS.key?(plan) ? plan : raise(Refused, "there is no plan #{plan.inspect}")
  def json(env) = JSON.parse(env['rack.input'].read(64 << 10).to_s)
  def password(env) = env['HTTP_AUTHORIZATION'].to_s[/\ABasic (.+)/, 1].to_s.unpack1('m').split(':', 2)[1].to_s
  def same?(one, other) = Digest::SHA256.digest(one.to_s) == Digest::SHA256.digest(other)
  def answer(status, body) = [status, { 'content-type' => 'application/json' }, [JSON.generate(body)]]
end

run Provider.new
