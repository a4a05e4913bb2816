//! What Ruby learns about its system: time zones, users, paths, and functions that a dyno cannot have.

use crate::harness::TestApp;

async fn run(code: &str) -> Vec<String> {
    let app = TestApp::boot("run ->(e) { [200, {}, []] }").await;
    let (status, output) = app.run(&["ruby", "-e", code]).await;
    assert_eq!(status, 0, "{output} {:?}", app.log_lines());
    output.lines().map(str::to_owned).collect()
}

/// Times in several zones, one a line. Ruby of the machine prints the same.
const ZONES: &str = r##"
    zones = %w[America/New_York Europe/Berlin Asia/Kolkata Australia/Lord_Howe Africa/Casablanca Pacific/Apia Asia/Tokyo
               America/St_Johns Antarctica/Troll UTC EST5EDT,M3.2.0,M11.1.0 <+0330>-3:30 XXX-3YYY,J60/1,J300/-1
               AAA3BBB2:30,10/0,350/25 :Europe/Dublin Nowhere/Land] + [""]
    moments = [0, -1, 1_700_000_000, 1_720_000_000, 2_000_000_000, 4_000_000_000, -2_000_000_000, 1_710_054_000, 1_711_846_800,
               1_730_594_400, 1_743_296_400]
    zones.each do |zone|
      ENV["TZ"] = zone
      puts "#{zone} " + moments.map { |moment| Time.at(moment).strftime("%F %T %z %Z").+(Time.at(moment).dst?.inspect) }.join(" ")
      fields = [[2024, 3, 31, 2, 30], [2024, 10, 27, 2, 30], [2024, 11, 3, 1, 30], [2024, 7, 1], [1950, 1, 1], [2080, 6, 15, 12]]
      puts fields.map { |parts| Time.local(*parts).to_i }.inspect
    end
    ENV.delete("TZ")
    puts Time.at(0).zone
"##;

#[tokio::test(flavor = "multi_thread")]
async fn local_times_are_those_of_native_ruby() {
    let native = std::process::Command::new("ruby")
        .args(["-e", ZONES])
        .output()
        .unwrap();
    let native = String::from_utf8(native.stdout).unwrap();
    let expected: Vec<&str> = native.lines().collect();
    assert_eq!(run(ZONES).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_that_the_app_sets_while_it_boots_holds_in_its_dynos() {
    let app = TestApp::boot(
        "ENV['TZ'] = 'America/New_York'; Time.now; run ->(_) { [200, {}, [Time.at(0).to_s]] }",
    )
    .await;
    let body = app.get("/").await.unwrap().1;
    assert_eq!(body, "1969-12-31 19:00:00 -0500");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_paths_are_those_of_a_system() {
    let code = r##"
        require "etc"
        puts Etc.getlogin, Etc.getpwuid.dir, Etc.getpwnam("root").uid, Etc.getgrgid(1000).name, Dir.home("dyno")
        puts (Etc.getpwnam("other") rescue $!.class), Process.euid, Process.groups.inspect
        puts File.exist?("/usr/share/zoneinfo/Europe/Paris"), File.read("/etc/hosts").include?("localhost")
        puts Encoding.find("locale"), Encoding.default_external, Encoding.find("filesystem"), ENV.fetch("SECRET").encoding
        puts File.file?("/proc/cpuinfo"), [$$, Process.pid].uniq == [File.read("/proc/self/status")[/^Pid:\t(\d+)/, 1].to_i]"##;
    assert_eq!(
        run(code).await,
        [
            "dyno",
            "/app",
            "0",
            "dyno",
            "/app",
            "ArgumentError",
            "1000",
            "[1000]",
            "true",
            "true",
            "UTF-8",
            "UTF-8",
            "UTF-8",
            "UTF-8",
            "true",
            "true"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_have_different_hashes_or_none() {
    let code = r##"
        hash = ->(password, salt) { password.crypt(salt) rescue $!.class }
        puts hash["secret", "ab"], hash["other", "ab"], hash["secret", "$6$saltsalt"], hash["secret", "*0"]"##;
    let lines = run(code).await;
    let refused = "Errno::EINVAL";
    assert_eq!(lines[2..], [refused, refused]);
    assert_eq!(lines[..2], ["abNANd1rDfiNc", "ablevSdGaUmRA"]);
}
