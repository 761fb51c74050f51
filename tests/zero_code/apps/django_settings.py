"""Settings of the Django service."""

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_app"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
USE_TZ = True
