"""Behind nginx with proxy_cache, as Debian has it: two users never get each other's handle."""

import os
import shutil
import subprocess

import httpx
import pytest
from stack.client import answers, wait_until
from stack.ports import choose_free
from stack.processes import HOST
from tests.zero_code.conftest import uvicorn

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
if NGINX is None and not os.environ.get("CI"):
    pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)", allow_module_level=True)

CONFIG = """
{user}daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_cache_path {folder}/cache keys_zone=pages:1m inactive=1h;
  server {{
    listen {host}:{port};
    location / {{
      proxy_pass http://{host}:{service};
      proxy_cache pages; proxy_cache_valid 200 304 1h; proxy_cache_revalidate on;
      add_header x-cache $upstream_cache_status always;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def behind_nginx(start, tmp_path_factory):
    """A function that puts an nginx before a service and returns a client of it."""
    running, clients = [], []

    def put(service):
        folder = tmp_path_factory.mktemp("nginx")
        [port] = choose_free(1)
        config = folder / "nginx.conf"
        user = "user root; " if os.geteuid() == 0 else ""  # else its worker can't write into the test's folder
        config.write_text(CONFIG.format(user=user, folder=folder, host=HOST, port=port, service=service.port))
        assert NGINX is not None, "CI needs nginx (Debian: apt-get install nginx-light)"
        with (folder / "log").open("wb") as log:
            running.append(subprocess.Popen([NGINX, "-c", config, "-p", folder], stdout=log, stderr=log))
        wait_until(lambda: answers(f"http://{HOST}:{port}/health"), "nginx", timeout=10)
        clients.append(httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=20))
        return clients[-1]

    yield put
    for client in clients:
        client.close()
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def service(start):
    return start(*uvicorn("fastapi_app:app"))


@pytest.fixture(scope="module")
def shop(behind_nginx, service):
    return behind_nginx(service)


def test_this_nginx_would_share_a_bare_services_answers(behind_nginx, start):
    """What the other tests guard against: without us the second user gets the first one's page from the cache."""
    client = behind_nginx(start(*uvicorn("fastapi_app:app"), instrument=False))
    assert [client.get("/ask").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("path", ["/ask", "/stream", "/not-modified", "/cached?ask=1"])
def test_two_users_never_get_each_others_handle(shop, service, path):
    """An answer is private: nginx keeps none, so each user's page has a handle of its own."""
    first, second = shop.get(path), shop.get(path)
    assert [response.headers["x-cache"] for response in (first, second)] == ["MISS", "MISS"]
    assert service.handle_of(first).span_id != service.handle_of(second).span_id


def test_what_the_service_shares_on_purpose_is_shared_without_a_handle(shop):
    """Cache-Control: public: cached as before, and nobody's handle is in the cache."""
    responses = [shop.get("/public") for _ in range(2)]
    assert [response.headers["x-cache"] for response in responses] == ["MISS", "HIT"]
    assert not any("feedback-handle" in response.headers for response in responses)


def test_pages_without_a_model_are_cached_as_before(shop):
    """The service's other pages lose nothing."""
    assert [shop.get("/time").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


def test_a_304_of_nginx_has_no_handle(shop, service):
    """What nginx keeps, it answers with a 304 to who has it; an answer with a handle it asks the service for anew."""
    shared = shop.get("/public")
    again = shop.get("/public", headers={"if-none-match": shared.headers["etag"]})
    assert (again.status_code, again.headers.get("feedback-handle")) == (304, None)
    mine = shop.get("/not-modified")
    anew = shop.get("/not-modified", headers={"if-none-match": mine.headers["etag"]})
    assert anew.status_code == 200
    assert service.handle_of(anew).span_id != service.handle_of(mine).span_id


def test_a_stream_through_nginx_is_a_stream(shop):
    """Nginx passes the first chunk on when it comes; held headers don't change that."""
    with shop.stream("GET", "/slow-first") as response:
        assert "feedback-handle" in response.headers
        assert response.read()
