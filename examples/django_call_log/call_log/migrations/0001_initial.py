"""The table of calls."""

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """As ``manage.py makemigrations`` wrote it."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="LoggedCall",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("call_id", models.CharField(max_length=255, unique=True)),
                ("direction", models.CharField(blank=True, max_length=10)),
                ("caller_number", models.CharField(blank=True, max_length=255)),
                ("caller_name", models.CharField(blank=True, max_length=255)),
                ("called", models.CharField(blank=True, max_length=255)),
                ("answered_by", models.CharField(blank=True, max_length=255)),
                ("state", models.CharField(db_index=True, max_length=20)),
                ("outcome", models.CharField(blank=True, max_length=20)),
                ("offer_time", models.DateTimeField(db_index=True, null=True)),
                ("hangup_time", models.DateTimeField(blank=True, null=True)),
                ("wait_seconds", models.FloatField(blank=True, null=True)),
                ("talk_seconds", models.FloatField(blank=True, null=True)),
            ],
            options={"ordering": ("-offer_time", "-id")},
        ),
    ]
